"""Why an alarm is there: read from the tables, put together, put into words. Nothing is computed anew.

The rule's arithmetic is not run again: what it decided by stands in the alarm's evidence, and what is shown beside
it (readings, revisions, the rule as it was) is there to be compared.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import AsyncConnection

from city.observations import Quality
from city.settings import Settings
from city.storage import alarm_events, alarm_why, alarms
from command_centre import why_sentences, why_told, why_words
from command_centre.why_told import Told

Connection = AsyncConnection[Any]
Row = dict[str, Any]

MOST_POINTS = 500
LOOK_BACK = timedelta(minutes=15)  # before the first reading the evidence names, to see it coming
LONGEST_LOOK_BACK = timedelta(days=7)


async def explain(connection: Connection, settings: Settings, alarm_id: int, now: datetime) -> Row:
    """Everything that is stored about this alarm's reason; the alarm must exist."""
    alarm = await alarms.get(connection, alarm_id, now)
    if alarm is None:
        raise LookupError(f"alarm {alarm_id} is gone")
    rule = await alarm_why.rule(connection, alarm["rule"], alarm["rule_version"], alarm["raised_at"])
    device = await alarm_why.device(connection, alarm_id)
    definition: Mapping[str, Any] = rule["definition"] if rule else {}
    codes = why_told.metric_codes(alarm, definition, device["main_metric"] if device else None)
    metrics = await alarm_why.metrics(connection, codes)
    start, end = _window(alarm, now)
    seen = await _observed(connection, alarm, device, list(metrics.values()), start, end)
    told = Told(
        alarm=alarm,
        definition=definition,
        rule=rule,
        device=device,
        metrics=metrics,
        observations=seen["observations"],
        revisions=seen["revisions"],
        kept_since=now - timedelta(days=settings.retention_days),
        window=(start, end),
        zone=settings.zone,
        now=now,
    )
    sentence, sentence_en = why_sentences.sentence(told)
    return {
        "alarm": alarm,
        "sentence": sentence,
        "sentence_en": sentence_en,
        "rule": why_words.rule_shown(told),
        "limits": why_words.limits(told),
        "scope": why_words.scope(told),
        "evidence": alarm["evidence"],
        "window": {"from": start, "to": end},
        **seen,
        "events": _with_what_the_row_says(alarm, await alarm_events.of_alarm(connection, alarm_id)),
        "notes": why_words.notes(told),
    }


def _window(alarm: Row, now: datetime) -> tuple[datetime, datetime]:
    """From before the first reading that counted to the end of the episode; of an open one to now."""
    evidence = alarm["evidence"]
    back = LOOK_BACK
    for key in ("window_s", "on_delay_s", "for_s", "same_for_s", "silent_for_s"):
        if isinstance(evidence.get(key), int | float):
            back = max(back, 1.5 * timedelta(seconds=min(float(evidence[key]), 1e9)))
    first = min(
        (at for at in (instant(evidence.get("observed_at")), alarm["raised_at"]) if at is not None),
    )
    return first - min(back, LONGEST_LOOK_BACK), alarm["cleared_at"] or max(now, alarm["raised_at"])


def instant(said: object) -> datetime | None:
    """An RFC 3339 instant in an evidence, if it is one."""
    try:
        at = datetime.fromisoformat(str(said))
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo is not None else None


async def _observed(
    connection: Connection,
    alarm: Row,
    device: Row | None,
    metrics: Sequence[Row],
    start: datetime,
    end: datetime,
) -> dict[str, list[Row]]:
    if device is None:
        return {"observations": [], "revisions": [], "detections": [], "listening": []}
    silence = "expected_interval_s" in alarm["evidence"]
    if silence:  # the last words before it, however long ago
        start = min(start, (instant(alarm["evidence"].get("last_heard_at")) or start) - LOOK_BACK)
    ids = [metric["id"] for metric in metrics]
    each = MOST_POINTS // (2 * max(1, len(ids)))
    points = await alarm_why.observations(
        connection, device["id"], ids, start=start, turn=alarm["raised_at"], end=end, each=each
    )
    revised = await alarm_why.revisions(connection, device["id"], ids, start, end)
    return {
        "observations": _marked(points, revised, alarm),
        "revisions": revised,
        "detections": [
            {**row, "quality": marks(row["quality"])}
            for row in await alarm_why.detections(connection, device["id"], start, end, MOST_POINTS)
        ],
        "listening": await alarm_why.listening(connection, start, end) if silence else [],
    }


def _marked(points: Sequence[Row], revised: Sequence[Row], alarm: Row) -> list[Row]:
    """Each reading with its marks in words, whether it was revised, and whether the evidence rests on it."""
    changed = {(row["metric"], row["observed_at"]) for row in revised}
    deciding = instant(alarm["evidence"].get("observed_at"))
    metric = alarm["metric"]
    return [
        {
            **row,
            "quality": marks(row["quality"]),
            "revised": (row["metric"], row["observed_at"]) in changed,
            "deciding": row["observed_at"] == deciding and metric in (None, row["metric"]),
        }
        for row in points
    ]


def marks(quality: int) -> list[str]:
    """Names of what is known against a reading; empty = good."""
    return [flag.name.lower() for flag in Quality if flag.name and quality & flag]


def _with_what_the_row_says(alarm: Row, events: list[Row]) -> list[Row]:
    """Alarms from before events were noted, and those about the system itself, have theirs from the row."""
    known = {event["kind"] for event in events}
    said = []
    for kind, at, actor in (
        ("raised", alarm["raised_at"], "system"),
        ("acknowledged", alarm["acknowledged_at"], alarm["acknowledged_by"]),
        ("cleared", alarm["cleared_at"], "system"),
    ):
        if at is not None and kind not in known:
            said.append(
                {"at": at, "recorded_at": None, "kind": kind, "actor": actor, "reason": "", "evidence": {}}
            )
    return sorted([*events, *said], key=lambda event: event["recorded_at"] or event["at"])
