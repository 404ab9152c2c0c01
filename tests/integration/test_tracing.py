"""From a reading to a work order by what stands in the logs and on the timeline: one key is enough to follow it."""

import asyncio

import psycopg
from structlog.testing import capture_logs

from city.alarms import Raised
from city.settings import Settings
from city.storage.changes import open_connection
from city.storage.transitions import write_transitions
from command_centre import triage_loop
from command_centre.known_directory import KnownDirectory
from tests.integration.small_town import NOW, build, rows


def smoke(url: str) -> Raised:
    ((device,),) = rows(url, "SELECT id FROM devices WHERE code = 'c02-s1'")
    return Raised(
        rule_id="smoke-high",
        rule_version=1,
        device_id=int(str(device)),
        metric_id=None,
        category="fire.smoke",
        incident_class=None,
        late=False,
        level="red",
        raised_us=int(NOW.timestamp() * 1_000_000),
        evidence={"value": 85},
    )


def test_an_alarm_is_named_by_ingest_by_the_centre_and_on_the_timeline(migrated_url: str) -> None:
    build(migrated_url)
    raised = smoke(migrated_url)
    with psycopg.connect(migrated_url) as connection:
        ((alarm, code, rule),) = write_transitions(connection, [raised], now=NOW)
    assert (code, rule) == ("c02-s1", "smoke-high")

    async def triaged() -> int:
        async with await open_connection(migrated_url, "test", autocommit=True) as connection:
            return await triage_loop.triage_batch(
                connection, KnownDirectory(Settings().zone), NOW, mail=True, limit=100
            )

    with capture_logs() as logs:
        assert asyncio.run(triaged()) == 1
    (opened,) = [line for line in logs if line["event"] == "incident opened"]
    assert opened["trace"] == [f"alarm-{alarm}"]
    number = opened["number"]
    assert rows(
        migrated_url,
        "SELECT i.number, e.detail ->> 'alarm' FROM incident_events e JOIN incidents i ON i.id = e.incident_id"
        " WHERE e.seq = 1",
    ) == [(number, str(alarm))]


def test_an_episode_that_is_open_already_is_not_named_again(migrated_url: str) -> None:
    build(migrated_url)
    raised = smoke(migrated_url)
    with psycopg.connect(migrated_url) as connection:
        assert len(write_transitions(connection, [raised, raised], now=NOW)) == 1
