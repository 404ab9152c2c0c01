"""What a backup says of itself, whether two databases hold the same, and which backups may go; pure.

A backup is a folder ``city-20261122T031500Z``: ``database/`` (pg_dump's directory form), ``photos/``, ``documents/``,
``history/``, ``district/``, ``anchors.log``, ``audit.log`` and, written last, ``manifest.json``. One that is being
made, or was interrupted, ends in ``.partial`` and has no manifest; one that did not prove itself ends in ``.failed``.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from city.errors import CityError

FORMAT = 1
MANIFEST, DATABASE, PHOTOS, DOCUMENTS, HISTORY, DISTRICT, ANCHORS, AUDIT = (
    "manifest.json", "database", "photos", "documents", "history", "district", "anchors.log", "audit.log",
)  # fmt: skip
PARTIAL, FAILED = ".partial", ".failed"
_NAME = re.compile(r"city-\d{8}T\d{6}Z")


class BackupError(CityError):
    """A backup cannot be made or used: one line with what is in the way and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows, and the exclusive or of each row's 64-bit hash (PostgreSQL's own): equal for equal rows in any order."""

    rows: int
    digest: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Chains:
    """Where the chains ended: SHA-256 over each incident's (id, last_seq, head), the newest anchor, the audit's end."""

    incidents: int
    events: int
    heads: str
    anchor: int  # 0 = none yet
    anchor_digest: str
    audit: int  # rows chained
    audit_hash: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """What a database holds at one instant."""

    postgres: int  # 180006 = 18.6
    timescaledb: str | None
    migrations: tuple[str, ...]
    tables: dict[str, Table]  # by schema.name
    chains: Chains
    roles: tuple[
        str, ...
    ]  # others than the owner, who may read or write something here; a server's, not a database's
    default_privileges: tuple[str, ...]  # statements, for the owner that restores
    grants: str  # SHA-256 over every grant to others and every policy: who sees which rows


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """One file of a backup."""

    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """How a restore into a scratch database went; ``faults`` empty = it held the same, and every chain was proved."""

    at: datetime
    seconds: float
    incidents: int
    events: int
    faults: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """All that is known of a backup. ``files`` by path below its folder, the manifest itself left out."""

    format: int
    product: str
    snapshot_at: datetime
    seconds: float
    content: Content
    files: dict[str, File]
    missing_files: int  # photos and documents that the database names and the data folder lacked
    settings: dict[str, str]  # none that is secret
    keys: tuple[
        str, ...
    ]  # ids of the data keys that sealed columns open with; the keys themselves are elsewhere
    check: Check | None
    # Files of archived days that the data folder lacked, or had otherwise; None = made before backups had history.
    missing_history: tuple[str, ...] | None = None

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(one.bytes for one in self.files.values())

    @property
    def good(self) -> bool:
        """Whether nothing is known against it; an unchecked one is believed until it is checked."""
        return self.check is None or not self.check.faults


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """What a restore has to fit: version number, and the versions of TimescaleDB that it could install."""

    postgres: int
    timescaledb: tuple[str, ...]


def name(at: datetime) -> str:
    """The folder's name of a backup begun then."""
    return f"city-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def encode(manifest: Manifest) -> bytes:
    """As it stands in the file."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1)


def decode(raw: bytes) -> Manifest:
    """Raises BackupError for a damaged one and for one of a later form."""
    try:
        form = msgspec.json.decode(raw).get("format")
        if isinstance(form, int) and form > FORMAT:
            raise BackupError(f"{MANIFEST}: its form is {form}, this program reads {FORMAT}; use a newer one")
        return msgspec.json.decode(raw, type=Manifest)
    except (msgspec.MsgspecError, AttributeError, UnicodeDecodeError) as error:
        raise BackupError(f"{MANIFEST}: damaged ({error}); use another backup") from error


def differences(written: Content, found: Content) -> list[str]:
    """What a restored database has otherwise than the manifest says; empty = nothing."""
    faults = []
    if found.migrations != written.migrations:
        faults.append("its schema is another one")
    for table in sorted(written.tables.keys() | found.tables.keys()):
        was, now = written.tables.get(table), found.tables.get(table)
        if was is None or now is None:
            faults.append(f"{table}: {'not in the backup' if was is None else 'missing'}")
        elif was.rows != now.rows:
            faults.append(f"{table}: {now.rows} rows of {was.rows}")
        elif was.digest != now.digest:
            faults.append(f"{table}: {was.rows} rows, not the same ones")
    if found.grants != written.grants:
        faults.append("who may see which rows is not the same (grants, policies)")
    if found.chains != written.chains:
        faults.append(f"its chains end otherwise: {found.chains} for {written.chains}")
    return faults


def history_differences(manifest: Manifest, named: Mapping[str, str]) -> list[str]:
    """Files of archived days that a restored database names (``named``: SHA-256 by name) and the backup has not so."""
    if manifest.missing_history is None:
        return []
    faults = []
    for name in sorted(named.keys() - set(manifest.missing_history)):
        there = manifest.files.get(f"{HISTORY}/{name}")
        if there is None or there.sha256 != named[name]:
            faults.append(f"{HISTORY}/{name}: {'missing' if there is None else 'not the file of that day'}")
    return faults


def overdue(
    newest: datetime | None, born: datetime | None, now: datetime, most: timedelta
) -> timedelta | None:
    """How old the newest good backup is, when that is older than ``most``; None = all is well.

    Where there is none the database's own age counts: a new one has time for its first. ``most`` 0 = nobody asks.
    """
    since = newest or born
    age = now - since if since is not None else timedelta(0)
    return age if most and age > most else None


def unfit(content: Content, known: Sequence[str], server: Server) -> str | None:
    """Why this program or this server cannot take a backup, with the remedy; None = they can."""
    if newer := [one for one in content.migrations if one not in known]:
        return (
            f"it was made by a newer version (schema {newer[-1]}, this program knows {known[-1]}); "
            "install that version, restore with it"
        )
    if server.postgres // 10000 < content.postgres // 10000:
        return (
            f"it comes from PostgreSQL {content.postgres // 10000}, this server is "
            f"{server.postgres // 10000}; restore into {content.postgres // 10000} or newer"
        )
    if content.timescaledb is not None and content.timescaledb not in server.timescaledb:
        there = (
            f"this server has {', '.join(server.timescaledb)}"
            if server.timescaledb
            else "this server has none"
        )
        return f"it needs TimescaleDB {content.timescaledb}, {there}; install that version, then upgrade it"
    return None


def is_backup(folder: str) -> bool:
    """Whether a folder's name is that of a finished backup."""
    return _NAME.fullmatch(folder) is not None


def leftover(folder: str) -> bool:
    """Whether a folder's name is that of one that was interrupted, or did not prove itself."""
    return any(_NAME.fullmatch(folder.removesuffix(end)) for end in (PARTIAL, FAILED) if folder.endswith(end))


def superfluous(folders: Iterable[str], keep: int) -> list[str]:
    """Finished backups beyond the newest ``keep`` (at least 1), the oldest first."""
    finished = sorted(one for one in folders if is_backup(one))
    return finished[: -max(1, keep)]


def room_needed(table_bytes: int, file_bytes: int) -> int:
    """Bytes to ask of the disk beforehand: compressed rows take 0.15 to 0.4 of their tables (docs/backup.md)."""
    return table_bytes // 2 + file_bytes + 64 * 1024**2


def plain_settings(values: Mapping[str, object]) -> dict[str, str]:
    """Settings worth knowing when a machine is built anew: none that holds, or may hold, a secret or an address."""
    kept = {}
    for key, value in values.items():
        hidden = any(part in key for part in ("token", "url", "password", "secret", "file", "key", "smtp"))
        if not hidden and isinstance(value, bool | int | float | str):
            kept[key] = str(value)
    return kept
