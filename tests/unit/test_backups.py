"""What a backup says of itself, and which of two databases is not the other."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from city import backups
from city.backups import BackupError, Chains, Content, File, Manifest, Server, Table

AT = datetime(2026, 11, 22, 3, 15, tzinfo=UTC)
CHAINS = Chains(
    incidents=2, events=5, heads="aa" * 32, anchor=1, anchor_digest="bb", audit=9, audit_hash="dd"
)
CONTENT = Content(
    postgres=170006,
    timescaledb="2.19.3",
    migrations=("0001_memory", "0002_register"),
    tables={"public.areas": Table(rows=3, digest=-7), "public.units": Table(rows=1, digest=4)},
    chains=CHAINS,
    roles=("city_within",),
    default_privileges=(),
    grants="ee",
)
MANIFEST = Manifest(
    format=backups.FORMAT,
    product="0.1.0",
    snapshot_at=AT,
    seconds=1.5,
    content=CONTENT,
    files={"database/toc.dat": File(bytes=10, sha256="00"), "anchors.log": File(bytes=5, sha256="11")},
    missing_files=0,
    settings={},
    keys=("0a",),
    check=None,
)


def test_a_manifest_reads_as_it_was_written() -> None:
    assert backups.decode(backups.encode(MANIFEST)) == MANIFEST
    assert MANIFEST.bytes == 15
    assert MANIFEST.good


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[]", b'{"format": 1}', backups.encode(MANIFEST)[:-20], b"\xff"]
)
def test_a_damaged_manifest_is_refused(raw: bytes) -> None:
    with pytest.raises(BackupError, match="damaged"):
        backups.decode(raw)


def test_a_manifest_of_a_later_form_names_the_remedy() -> None:
    with pytest.raises(BackupError, match="use a newer one"):
        backups.decode(backups.encode(replace(MANIFEST, format=backups.FORMAT + 1)))


def test_files_of_archived_days_are_those_that_the_database_names() -> None:
    name, digest = "readings-2026-03-01.parquet", "22"
    had = replace(MANIFEST, missing_history=(), files={f"history/{name}": File(bytes=1, sha256=digest)})
    assert backups.history_differences(had, {name: digest}) == []
    assert backups.history_differences(had, {}) == []  # more than is named is no fault
    assert backups.history_differences(had, {name: "33"}) == [f"history/{name}: not the file of that day"]
    without = replace(had, files={})
    assert backups.history_differences(without, {name: digest}) == [f"history/{name}: missing"]
    assert backups.history_differences(replace(without, missing_history=(name,)), {name: digest}) == []
    assert backups.history_differences(replace(without, missing_history=None), {name: digest}) == []


def test_a_manifest_of_the_version_before_history_is_read() -> None:
    raw = backups.encode(MANIFEST).replace(b'"missing_history": null', b'"other": 1')
    assert b"missing_history" not in raw
    assert backups.decode(raw).missing_history is None


def test_one_with_faults_is_no_good() -> None:
    check = backups.Check(at=AT, seconds=1, incidents=0, events=0, faults=("rows",))
    assert not replace(MANIFEST, check=check).good
    assert replace(MANIFEST, check=replace(check, faults=())).good


@pytest.mark.parametrize(
    ("found", "faults"),
    [
        (CONTENT, []),
        (replace(CONTENT, postgres=180001), []),
        (replace(CONTENT, tables={"public.areas": Table(rows=3, digest=-7)}), ["public.units: missing"]),
        (
            replace(CONTENT, tables=CONTENT.tables | {"public.more": Table(rows=0, digest=0)}),
            ["public.more: not in the backup"],
        ),
        (
            replace(CONTENT, tables=CONTENT.tables | {"public.areas": Table(rows=2, digest=-7)}),
            ["public.areas: 2 rows of 3"],
        ),
        (
            replace(CONTENT, tables=CONTENT.tables | {"public.areas": Table(rows=3, digest=7)}),
            ["public.areas: 3 rows, not the same ones"],
        ),
        (
            replace(CONTENT, grants="ff"),
            ["who may see which rows is not the same (grants, policies)"],
        ),
        (replace(CONTENT, migrations=("0001_memory",)), ["its schema is another one"]),
        (
            replace(CONTENT, chains=replace(CHAINS, heads="cc" * 32)),
            [f"its chains end otherwise: {replace(CHAINS, heads='cc' * 32)} for {CHAINS}"],
        ),
        (
            replace(CONTENT, chains=replace(CHAINS, audit=8)),
            [f"its chains end otherwise: {replace(CHAINS, audit=8)} for {CHAINS}"],
        ),
    ],
)
def test_every_difference_is_named(found: Content, faults: list[str]) -> None:
    assert backups.differences(CONTENT, found) == faults


KNOWN = ("0001_memory", "0002_register", "0003_incidents")


@pytest.mark.parametrize(
    ("content", "server", "word"),
    [
        (CONTENT, Server(postgres=170001, timescaledb=("2.18.0", "2.19.3")), None),
        (replace(CONTENT, timescaledb=None), Server(postgres=180000, timescaledb=()), None),
        (CONTENT, Server(postgres=160009, timescaledb=("2.19.3",)), "PostgreSQL 17"),
        (
            CONTENT,
            Server(postgres=170001, timescaledb=("2.20.0",)),
            "TimescaleDB 2.19.3, this server has 2.20.0",
        ),
        (CONTENT, Server(postgres=170001, timescaledb=()), "this server has none"),
        (
            replace(CONTENT, migrations=(*KNOWN, "0004_later")),
            Server(postgres=170001, timescaledb=("2.19.3",)),
            "0004_later",
        ),
    ],
)
def test_what_does_not_fit_is_said_before(content: Content, server: Server, word: str | None) -> None:
    why = backups.unfit(content, KNOWN, server)
    assert why is None if word is None else word in (why or "")


def test_only_finished_ones_are_counted_and_one_always_stays() -> None:
    names = ["city-20261103T000000Z", "city-20261101T000000Z", "photos", "city-20261102T000000Z.partial"]
    assert backups.superfluous(names, 1) == ["city-20261101T000000Z"]
    assert backups.superfluous(names, 0) == ["city-20261101T000000Z"]
    assert backups.superfluous(names, 2) == []
    assert [one for one in names if backups.leftover(one)] == ["city-20261102T000000Z.partial"]
    assert not backups.leftover("x.partial")
    assert backups.is_backup(backups.name(AT))
    assert backups.name(AT) == "city-20261122T031500Z"


DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("newest", "born", "most", "age"),
    [
        (AT - DAY, AT - 9 * DAY, 2 * DAY, None),
        (AT - 3 * DAY, AT - 9 * DAY, 2 * DAY, 3 * DAY),
        (None, AT - DAY, 2 * DAY, None),
        (None, AT - 9 * DAY, 2 * DAY, 9 * DAY),
        (None, AT - 9 * DAY, timedelta(0), None),
        (None, None, 2 * DAY, None),
    ],
)
def test_when_a_backup_is_overdue(
    newest: datetime | None, born: datetime | None, most: timedelta, age: timedelta | None
) -> None:
    assert backups.overdue(newest, born, AT, most) == age


def test_no_setting_that_may_hold_a_secret_is_written_down() -> None:
    given = {
        "api_token": "t", "database_url": "u", "sl651_password": "p", "webhook_secret": "s", "api_token_file": "f",
        "smtp_from": "a", "data_key": "k", "timezone": "Asia/Shanghai", "retention_days": 400, "config": None,
    }  # fmt: skip
    assert backups.plain_settings(given) == {"timezone": "Asia/Shanghai", "retention_days": "400"}
