"""What ingest makes of a database's refusal, of a slow database, and of a broker it may not read from."""

import time
from typing import Any

import psycopg
import pytest
from paho.mqtt.enums import MQTTErrorCode
from psycopg import errors

from city.storage.database import blames_the_rows
from ingest.delivery import Delivery, portions
from ingest.inbox import Inbox
from ingest.sources import mqtt


@pytest.mark.parametrize(
    "error",
    [
        errors.DiskFull(),
        errors.ReadOnlySqlTransaction(),
        errors.QueryCanceled(),
        errors.LockNotAvailable(),
        errors.DeadlockDetected(),
        errors.AdminShutdown(),
        errors.CannotConnectNow(),
        errors.IoError(),
        errors.InternalError_(),
        errors.FeatureNotSupported("cached plan must not change result type"),
        errors.InsufficientPrivilege(),
        errors.UndefinedTable(),
        errors.UndefinedColumn(),
        psycopg.OperationalError("the connection is lost"),
        psycopg.InterfaceError("the connection is closed"),
    ],
)
def test_what_is_worth_waiting_for(error: psycopg.Error) -> None:
    assert not blames_the_rows(error)


@pytest.mark.parametrize(
    "error",
    [
        errors.NumericValueOutOfRange(),
        errors.UntranslatableCharacter(),
        errors.CheckViolation(),
        errors.NotNullViolation(),
        errors.DatatypeMismatch(),
        psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"),
        psycopg.ProgrammingError("cannot adapt type"),
    ],
)
def test_what_would_be_refused_again(error: psycopg.Error) -> None:
    assert blames_the_rows(error)


def delivery(count: int, received_us: int, **more: Any) -> Delivery:
    return Delivery(
        topics=[b"t%d" % n for n in range(count)],
        payloads=[b"%d" % (received_us + n) for n in range(count)],
        packet_ids=list(range(1, count + 1)),
        received_us=received_us,
        generation=3,
        **more,
    )


@pytest.mark.parametrize("most", [1, 2, 3, 4, 7, 9, 100])
def test_portions_hold_every_message_once_in_its_order_with_what_belongs_to_it(most: int) -> None:
    given = [delivery(4, 100, retained=frozenset({1, 3}), cut={2: 9}), delivery(5, 200, cut={0: 7, 4: 8})]
    found = portions(given, most)
    assert all(0 < sum(map(len, portion)) <= most for portion in found)
    flat = [part for portion in found for part in portion]
    assert [payload for part in flat for payload in part.payloads] == [
        payload for one in given for payload in one.payloads
    ]
    arrivals = [part.received_us + n for part in flat for n in range(len(part))]
    assert arrivals == [100, 101, 102, 103, 200, 201, 202, 203, 204]
    marked = {part.received_us + n for part in flat for n in part.retained}
    cut = {part.received_us + n: size for part in flat for n, size in part.cut.items()}
    assert (marked, cut) == ({101, 103}, {102: 9, 200: 7, 204: 8})


def test_a_whole_delivery_stays_what_it_is() -> None:
    given = [delivery(4, 100)]
    assert portions(given, 4) == [given]
    assert portions([], 4) == []


def test_a_closed_inbox_has_no_room_and_gives_what_it_holds() -> None:
    inbox = Inbox(limit=1000, batch=10)
    inbox.put(delivery(4, 100))
    inbox.closed = True
    assert not inbox.has_room()
    assert len(inbox.take(gather_s=0, wait_s=0)) == 1
    inbox.closed = False
    assert inbox.has_room()


@pytest.mark.parametrize("make", [mqtt.BatchClient, mqtt.StockClient])
def test_while_nothing_is_read_an_unread_answer_to_a_ping_is_no_reason_to_leave(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make(lambda _published: None, lambda: False, client_id="c")
    monkeypatch.setattr(mqtt, "HELD_S", 0)
    monkeypatch.setattr(client, "is_connected", lambda: True)
    client._sock = object()
    client._ping_t = client._last_bytes_received = time.monotonic() - 600
    assert client.loop_read() == MQTTErrorCode.MQTT_ERR_SUCCESS
    assert client._ping_t == 0
    assert time.monotonic() - client._last_bytes_received < 300
    client._sock = None


def test_what_stands_at_the_beginning_of_a_connection_is_read_without_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = mqtt.BatchClient(lambda _published: None, lambda: False, client_id="c")
    monkeypatch.setattr(client, "_sock_recv", lambda _size: b"\x20\x02\x00\x00")
    said: list[str] = []
    client.on_connect = lambda *_given: said.append("connected")
    client._sock = object()  # type: ignore[assignment]  # nothing is asked of it
    client.loop_read()
    assert said == ["connected"]
    client._sock = None
