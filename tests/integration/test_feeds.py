"""Pull feeds against a server of our own: news only, patience with failures, late batches stored in our units."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg
import pytest

from city.district import import_defaults
from city.observations import Quality
from city.settings import Settings
from ingest.decoders import environment_agency, nwps
from ingest.delivery import Delivery
from ingest.inbox import Inbox
from ingest.listeners import listeners
from ingest.pipeline import Pipeline
from ingest.routing import Router
from ingest.sources import feeds
from ingest.sources.feed_plan import Ask
from ingest.sources.feeds import FeedSource
from rules.definitions import to_rows

Answer = tuple[int, dict[str, str], bytes]
ROOT = "http://environment.data.gov.uk/flood-monitoring/id/measures/"


class Agency:
    """A server that answers each path with what ``say`` makes of the number of the request and its headers."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[int, dict[str, str]], Answer]] = {}
        self.asked: Counter[str] = Counter()
        agency = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                agency.asked[path] += 1
                say = agency.answers.get(path, lambda *_: (404, {}, b""))
                status, headers, body = say(
                    agency.asked[path], {k.lower(): v for k, v in self.headers.items()}
                )
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def agency() -> Iterator[Agency]:
    made = Agency()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(feeds, "APART_S", 0.001)


class Heard:
    """A source at work and what it has put into the inbox."""

    def __init__(self, asks: list[Ask]) -> None:
        self.inbox = Inbox(limit=1000, batch=100)
        self.source = FeedSource(asks, self.inbox, source=3)
        self.deliveries: list[Delivery] = []

    def __enter__(self) -> "Heard":
        self.source.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.source.stop()

    def next(self, messages: int) -> list[tuple[str, object]]:
        """The next messages, so many."""
        heard: list[tuple[str, object]] = []
        for _ in range(200):
            taken = self.inbox.take(gather_s=0, wait_s=0.1)
            self.deliveries += taken
            self.inbox.done(taken)
            heard += [
                (topic.decode(), json.loads(body))
                for delivery in taken
                for topic, body in zip(delivery.topics, delivery.payloads, strict=True)
            ]
            if len(heard) >= messages:
                return heard
        raise AssertionError(heard)


def items(*values: float) -> bytes:
    listed = [
        {
            "dateTime": f"2026-05-01T10:{n:02}:00Z",
            "measure": ROOT + "A-level-stage-i-15_min-mASD",
            "value": value,
        }
        for n, value in enumerate(values)
    ]
    return json.dumps({"items": listed}).encode()


def test_only_news_is_asked_for_and_handed_on(agency: Agency) -> None:
    conditions: list[tuple[str | None, str | None]] = []

    def say(number: int, headers: dict[str, str]) -> Answer:
        conditions.append((headers.get("if-none-match"), headers.get("if-modified-since")))
        if number in (2, 3):
            return 304, {}, b""
        tag = {"ETag": f'"v{number}"', "Last-Modified": "Fri, 01 May 2026 10:00:00 GMT"}
        return 200, tag, items(1.0) if number == 1 else items(1.0, 2.0)

    agency.answers["/a"] = say
    ask = Ask(topic="environment_agency/A/readings", url=f"{agency.url}/a", every_s=0.02)
    with Heard([ask]) as heard:
        first, second = heard.next(2)
        assert first[1] == json.loads(items(1.0))
        assert [one["value"] for one in second[1]["items"]] == [2.0]  # type: ignore[index]  # an object, as asserted
        assert {(delivery.source, *delivery.packet_ids) for delivery in heard.deliveries} == {(3, 0)}
    assert conditions[:3] == [(None, None)] + [('"v1"', "Fri, 01 May 2026 10:00:00 GMT")] * 2
    assert heard.source.figures()["feed_news"] == 2
    assert not heard.source._thread.is_alive()


def test_one_that_fails_is_asked_less_and_keeps_nobody_waiting(agency: Agency) -> None:
    agency.answers["/good"] = lambda number, _: (200, {}, items(float(number)))
    agency.answers["/bad"] = lambda number, _: (503, {}, b"") if number < 3 else (200, {}, items(9.0))
    agency.answers["/busy"] = lambda *_: (429, {"Retry-After": "3600"}, b"")
    asks = [
        Ask(topic=f"environment_agency/{name}/readings", url=f"{agency.url}/{name}", every_s=0.05)
        for name in ("good", "bad", "busy", "gone")
    ]
    asks.append(Ask(topic="nwps/refused/gauge", url="http://127.0.0.1:9/x", every_s=0.05))
    with Heard(asks) as heard:
        seen: list[str] = []
        while "environment_agency/bad/readings" not in seen:
            seen += [topic for topic, _ in heard.next(1)]
        while agency.asked["/good"] < 5:
            heard.next(1)
        assert (agency.asked["/busy"], agency.asked["/gone"]) == (1, 1)  # an hour, and six
        assert heard.source.figures()["feed_failing"] == 3
        assert heard.source.connected


def test_an_answer_without_end_is_given_up(agency: Agency, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "MOST_BYTES", 1_000)
    agency.answers["/large"] = lambda *_: (200, {}, b" " * 5_000)
    agency.answers["/good"] = lambda number, _: (200, {}, items(float(number)))
    asks = [
        Ask(topic=f"nwps/{name}/gauge", url=f"{agency.url}/{name}", every_s=0.05)
        for name in ("large", "good")
    ]
    with Heard(asks) as heard:
        assert {topic for topic, _ in heard.next(3)} == {"nwps/good/gauge"}
    assert agency.asked["/large"] == 1


def test_the_districts_file_makes_the_source(agency: Agency, tmp_path: Path) -> None:
    inbox = Inbox(limit=10, batch=10)
    assert listeners(Settings(config=tmp_path, _env_file=None), inbox, first=1) == []
    (tmp_path / "feeds.toml").write_text(
        f'[[feed]]\nfamily = "nwps"\nstations = ["A"]\nurl = "{agency.url}"\n'
    )
    (source,) = listeners(Settings(config=tmp_path, _env_file=None), inbox, first=1)
    assert isinstance(source, FeedSource)
    assert source.figures()["feed_addresses"] == 2


def test_a_batch_of_half_a_day_is_stored_late_in_our_units(migrated_url: str) -> None:
    import_defaults(migrated_url, parse_rules=to_rows)
    newest = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=12)
    times = [(newest - timedelta(minutes=15 * n)).isoformat() for n in range(48)]
    measure = ROOT + "3400TH-level-stage-i-15_min-mAOD"
    readings = {"items": [{"dateTime": at, "measure": measure, "value": 4.5} for at in times]}
    series = {"primaryName": "Stage", "primaryUnits": "ft", "secondaryName": "Flow", "secondaryUnits": "kcfs"}
    points = [{"validTime": at, "primary": 10.0, "secondary": -999} for at in times]
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        router = Router([environment_agency.DECODER, nwps.DECODER])
        pipeline = Pipeline(connection, max_unclaimed=5, retention_days=400, router=router)
        topics = [b"environment_agency/3400TH/readings", b"nwps/PTTP1/stageflow"]
        bodies = [json.dumps(readings).encode(), json.dumps({**series, "data": points}).encode()]
        for again in range(2):  # the next process is told the same
            arrival = int(datetime.now(UTC).timestamp() * 1_000_000) + again
            pipeline.process(
                [
                    Delivery(
                        topics=topics, payloads=bodies, packet_ids=[0, 0], received_us=arrival, generation=0
                    )
                ]
            )
        stored = connection.execute(
            "SELECT d.code, d.kind, m.code, count(*), min(o.value), bit_and(o.quality) FROM observations o"
            " JOIN devices d ON d.id = o.device_id JOIN metrics m ON m.id = o.metric_id GROUP BY 1, 2, 3 ORDER BY 1"
        ).fetchall()
        refused = connection.execute("SELECT reason, detail FROM quarantine").fetchall()
    late = int(Quality.LATE)
    assert refused == []
    assert stored == [
        ("environment_agency:3400TH", "water", "level", 48, 4.5, late),
        ("nwps:PTTP1", "water", "level", 48, pytest.approx(3.048), late),
    ]
