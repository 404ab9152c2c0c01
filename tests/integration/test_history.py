"""Stored readings come back in order of arrival, whole, whichever way they are read."""

from dataclasses import fields

import numpy as np
import psycopg
import pytest

from city.observations import NO_SEQ, Detection, Quality, Readings
from city.storage import history, observations
from city.storage.database import DatabaseError, connect
from city.storage.history import Asked, DisorderError, read, read_detections

START = 1_763_750_400_000_000
MINUTE = 60_000_000
ALL = Asked(from_us=0, to_us=2**52)


def readings(count: int, *, days: int = 3, shuffled: bool = False) -> Readings:
    """Of seven devices; each third is late by hours, some have numbers, arrivals are all different."""
    rng = np.random.default_rng(count)
    number = np.arange(count)
    observed = START + number * (days * 1440 * MINUTE // count)
    late = np.where(number % 3 == 0, rng.integers(6, 600, count) * MINUTE, 0)
    received = observed + late + number  # no two alike
    order = rng.permutation(count) if shuffled else np.argsort(received, kind="stable")
    made = Readings(
        device=(number % 7 + 1).astype(np.int32),
        metric=(number % 2 + 1).astype(np.int16),
        observed_us=observed,
        received_us=received,
        value=rng.normal(5, 2, count),
        seq=np.where(number % 5 == 0, number, NO_SEQ),
        quality=np.where(late > 0, int(Quality.LATE), 0).astype(np.int16),
    )
    return made.take(order.astype(np.intp))


def store(url: str, rows: Readings) -> None:
    with psycopg.connect(url) as connection:
        observations.copy_new(connection, rows)


def whole(url: str, asked: Asked = ALL, *, sort: bool = False) -> dict[str, list[float]]:
    blocks = list(read(url, asked, sort=sort))
    columns = {
        field.name: np.concatenate([getattr(block, field.name) for block in blocks])
        for field in fields(Readings)
    }
    assert (np.diff(columns["received_us"]) >= 0).all()
    return {name: column.tolist() for name, column in columns.items() if name != "seq"}


def expected(rows: Readings) -> dict[str, list[float]]:
    ordered = rows.take(np.argsort(rows.received_us, kind="stable"))
    return {
        field.name: getattr(ordered, field.name).tolist() for field in fields(Readings) if field.name != "seq"
    }


def test_everything_comes_back_in_order_of_arrival(any_migrated_url: str) -> None:
    rows = readings(20_000)
    store(any_migrated_url, rows)
    assert whole(any_migrated_url) == expected(rows)
    assert whole(any_migrated_url, sort=True) == expected(rows)


def test_libpq_and_the_socket_give_the_same(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = readings(5_000)
    store(migrated_url, rows)
    monkeypatch.setattr(history, "_by_socket", history._by_libpq)
    assert whole(migrated_url) == expected(rows)


def test_span_devices_and_metrics_narrow_it(any_migrated_url: str) -> None:
    rows = readings(5_000)
    store(any_migrated_url, rows)
    asked = Asked(
        from_us=START + 100 * MINUTE, to_us=START + 2000 * MINUTE, device_ids=[2, 5], metric_ids=[1]
    )
    wanted = (
        (rows.observed_us >= asked.from_us)
        & (rows.observed_us < asked.to_us)
        & np.isin(rows.device, [2, 5])
        & (rows.metric == 1)
    )
    assert wanted.any()
    assert whole(any_migrated_url, asked) == expected(rows.take(wanted))


def test_as_observed_nothing_is_late(migrated_url: str) -> None:
    rows = readings(3_000)
    store(migrated_url, rows)
    blocks = list(read(migrated_url, Asked(from_us=0, to_us=2**52, as_observed=True), sort=True))
    observed = np.concatenate([block.observed_us for block in blocks])
    assert observed.tolist() == sorted(rows.observed_us.tolist())
    assert all((block.received_us == block.observed_us).all() and not block.quality.any() for block in blocks)


def test_what_lies_too_far_from_its_place_is_left_to_the_server(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "WINDOW_ROWS", 500)
    monkeypatch.setattr(history, "BLOCK_ROWS", 100)
    rows = readings(5_000, shuffled=True)
    store(migrated_url, rows)
    with pytest.raises(DisorderError):
        whole(migrated_url)
    assert whole(migrated_url, sort=True) == expected(rows)


def test_nothing_stored_is_no_block(any_migrated_url: str) -> None:
    assert list(read(any_migrated_url, ALL)) == []


def test_a_refusal_of_the_server_is_one_line(migrated_url: str) -> None:
    with connect(migrated_url, application="test", autocommit=True) as connection:
        connection.execute("ALTER TABLE observations RENAME TO gone")
    with pytest.raises(DatabaseError, match='database: relation "observations" does not exist'):
        list(read(migrated_url, ALL))


def test_stopping_in_the_middle_leaves_no_connection(migrated_url: str) -> None:
    store(migrated_url, readings(150_000, days=10))
    blocks = read(migrated_url, ALL)
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]  # it is a generator
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        for _ in range(100):
            left = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'city back-test'"
                " AND datname = current_database()"
            ).fetchone()
            if left == (0,):
                break
            connection.execute("SELECT pg_sleep(0.1)")
        assert left == (0,)


def test_detections_come_in_order_of_arrival(migrated_url: str) -> None:
    made = [
        Detection(
            device_id=1 + number % 2, event_key=f"e{number}", state="new", label="person",
            observed_us=START + number * MINUTE, received_us=START + number * MINUTE + (7 - number) * 2 * MINUTE,
            score=None if number == 3 else 0.5, zone="gate", url="", seq=NO_SEQ, quality=Quality.GOOD,
        )
        for number in range(7)
    ]  # fmt: skip
    with psycopg.connect(migrated_url) as connection:
        observations.insert_detections(connection, made)
    found = [event for part in read_detections(migrated_url, ALL) for event in part]
    assert found == sorted(made, key=lambda event: event.received_us)
    only = Asked(from_us=0, to_us=START + 3 * MINUTE, device_ids=[1])
    assert [e.event_key for part in read_detections(migrated_url, only) for e in part] == ["e2", "e0"]
