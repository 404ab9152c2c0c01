"""Foreign senders: under which names devices are heard, and the district's descriptions of their models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from psycopg import Connection
from psycopg.rows import TupleRow


class ForeignName(NamedTuple):
    """A device as its own family names it."""

    family: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedDevice:
    """Which device a foreign name means. ``profile`` is the one a person chose, or None."""

    device_id: int
    code: str
    kind: str
    registration: str
    model: str
    profile: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stranger:
    """A foreign device nobody knows yet; taken in as unclaimed under ``code``, or another that is free.

    ``expected_interval_s`` is its profile's; None = its kind's.
    """

    who: ForeignName
    code: str
    kind: str
    name: str
    model: str
    vendor: str
    expected_interval_s: int | None = None


def load_names(connection: Connection[TupleRow]) -> dict[ForeignName, NamedDevice]:
    """Every foreign name with its device."""
    return _named(connection.execute(_NAMED).fetchall())


def profile_files(connection: Connection[TupleRow]) -> list[tuple[str, str]]:
    """The district's own profiles: file names and texts, by name."""
    return connection.execute("SELECT name, content FROM profile_files ORDER BY name").fetchall()


def write_profiles(connection: Connection[TupleRow], files: Mapping[str, str]) -> tuple[int, int]:
    """Make the district's own profiles these, name to text; returns how many came or changed, and how many went."""
    changed = connection.execute(
        """INSERT INTO profile_files AS f (name, content) SELECT * FROM unnest(%s::text[], %s::text[])
           ON CONFLICT (name) DO UPDATE SET content = excluded.content WHERE f.content <> excluded.content""",
        (list(files), list(files.values())),
    ).rowcount
    removed = connection.execute("DELETE FROM profile_files WHERE name <> ALL (%s)", (list(files),)).rowcount
    return changed, removed


def take_in(
    connection: Connection[TupleRow], strangers: Sequence[Stranger]
) -> dict[ForeignName, NamedDevice]:
    """Register these as unclaimed and remember their names; who is known by now comes back as he is known.

    Part of the caller's transaction. A device that somebody listed under this code beforehand is that device; a code
    that another name of the family has already gets a number behind it.
    """
    if not strangers:
        return {}
    names = [list(one.who) for one in strangers]
    parameters = {"families": [one[0] for one in names], "names": [one[1] for one in names]}
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('device_names'))")
    known = _named(connection.execute(_NAMED + _AMONG, parameters).fetchall())
    for stranger in strangers:
        if stranger.who in known:
            continue
        device = _listed(connection, stranger) or _insert(connection, stranger)
        connection.execute(
            "INSERT INTO device_names (family, name, device_id) VALUES (%s, %s, %s)",
            (*stranger.who, device.device_id),
        )
        known[stranger.who] = device
    return known


def rename(connection: Connection[TupleRow], device_id: int, name: ForeignName, permanent: str) -> list[str]:
    """``name`` means this device from now on, whoever had it; which of its other names are forgotten.

    ``permanent`` stays. An old name that stayed as well would give this device's readings to whoever gets it next.
    """
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('device_names'))")
    forgotten = connection.execute(
        "DELETE FROM device_names WHERE device_id = %s AND family = %s AND name <> ALL(%s) RETURNING name",
        (device_id, name.family, [name.name, permanent]),
    ).fetchall()
    add_name(connection, device_id, name)
    return [row[0] for row in forgotten]


def add_name(connection: Connection[TupleRow], device_id: int, name: ForeignName) -> None:
    """One more name by which this device is known."""
    connection.execute(
        """INSERT INTO device_names (family, name, device_id) VALUES (%s, %s, %s)
           ON CONFLICT (family, name) DO UPDATE SET device_id = excluded.device_id""",
        (*name, device_id),
    )


def describe(
    connection: Connection[TupleRow],
    device_id: int,
    said: Mapping[str, str],
    expected_interval_s: int | None = None,
) -> None:
    """Fill what the register does not know: ``name``, ``model``, ``vendor``.

    Of an unclaimed device ``kind`` and interval are said anew; of a claimed one people have said them.
    """
    connection.execute(
        """UPDATE devices SET
               name = CASE WHEN name = '' THEN %(name)s ELSE name END,
               model = CASE WHEN model = '' THEN %(model)s ELSE model END,
               vendor = CASE WHEN vendor = '' THEN %(vendor)s ELSE vendor END,
               kind = CASE WHEN registration = 'unclaimed' AND %(kind)s <> '' THEN %(kind)s ELSE kind END,
               expected_interval_s = CASE WHEN registration = 'unclaimed'
                   THEN coalesce(%(interval)s::int, expected_interval_s) ELSE expected_interval_s END
           WHERE id = %(id)s""",
        {
            "id": device_id,
            "name": "",
            "model": "",
            "vendor": "",
            "kind": "",
            **said,
            "interval": expected_interval_s,
        },
    )


def _listed(connection: Connection[TupleRow], stranger: Stranger) -> NamedDevice | None:
    """Who listed it beforehand may have left its interval to the family, which knows better than the kind."""
    row = connection.execute(
        """UPDATE devices d SET expected_interval_s = coalesce(expected_interval_s, %s)
           WHERE code = %s AND NOT EXISTS (
               SELECT FROM device_names n WHERE n.device_id = d.id AND n.family = %s)
           RETURNING id, code, kind, registration, model, profile""",
        (stranger.expected_interval_s, stranger.code, stranger.who.family),
    ).fetchone()
    return None if row is None else _device(*row)


def _insert(connection: Connection[TupleRow], stranger: Stranger) -> NamedDevice:
    row = connection.execute(
        """INSERT INTO devices (code, kind, name, model, vendor, expected_interval_s, registration, origin,
               first_heard_at)
           SELECT code, %(kind)s, %(name)s, %(model)s, %(vendor)s, %(interval)s::int, 'unclaimed', 'topic', now() FROM (
               SELECT %(code)s::text AS code, 1 AS place
               UNION ALL SELECT %(code)s || '.' || n, n FROM generate_series(2, 1000) AS n) AS tried
           WHERE NOT EXISTS (SELECT FROM devices d WHERE d.code = tried.code) ORDER BY place LIMIT 1
           RETURNING id, code, kind, registration, model, profile""",
        {
            "code": stranger.code,
            "kind": stranger.kind,
            "name": stranger.name,
            "model": stranger.model,
            "vendor": stranger.vendor,
            "interval": stranger.expected_interval_s,
        },
    ).fetchone()
    assert row is not None  # noqa: S101 - INSERT … RETURNING; a thousand devices do not share a name
    return _device(*row)


def _device(
    device_id: int, code: str, kind: str, registration: str, model: str, profile: str | None
) -> NamedDevice:
    return NamedDevice(
        device_id=device_id, code=code, kind=kind, registration=registration, model=model, profile=profile
    )


_NAMED = """
    SELECT n.family, n.name, d.id, d.code, d.kind, d.registration, d.model, d.profile
    FROM device_names n JOIN devices d ON d.id = n.device_id
"""
_AMONG = """
    JOIN unnest(%(families)s::text[], %(names)s::text[]) AS wanted (family, name)
        ON (wanted.family, wanted.name) = (n.family, n.name)
"""


def _named(rows: Sequence[TupleRow]) -> dict[ForeignName, NamedDevice]:
    return {ForeignName(row[0], row[1]): _device(*row[2:]) for row in rows}
