"""The outcome as a table: printed, kept as JSON beside the other results, and written into docs/reliability.md."""

import os
import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench.chaos.outcome import Outcome, Played

BEGIN, END = "<!-- fault matrix: begin -->", "<!-- fault matrix: end -->"
_GROUPS = {
    "kill": "kills: our processes, the database, the screens",
    "broker kill": "broker kills, counted apart",
    "term": "stopped in order",
    "pause": "paused",
    "starve": "starved of processor or memory",
    "network": "partitions, packets lost, delayed, throttled",
    "disk": "slow and full disks",
    "clock": "skewed clocks",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """All rounds of one fault; recovery times in seconds."""

    fault: str
    group: str
    does: str
    times: int
    median_s: float | None
    worst_s: float | None
    wrong: int
    lost_by_broker: int
    impossible: str


def rows(played: Iterable[Played]) -> list[Row]:
    """One for each fault, in the order of the groups."""
    by_fault: dict[str, list[Played]] = {}
    for one in played:
        by_fault.setdefault(one.fault, []).append(one)
    order = list(_GROUPS)
    return sorted((_row(some) for some in by_fault.values()), key=lambda row: order.index(row.group))


def _row(some: list[Played]) -> Row:
    times = [one.whole_s for one in some if one.recovery and not one.impossible]
    return Row(
        fault=some[0].fault,
        group=some[0].group,
        does=some[0].does,
        times=sum(not one.impossible for one in some),
        median_s=median(times) if times else None,
        worst_s=max(times) if times else None,
        wrong=sum(sum(one.faults.values()) + len(one.ended) for one in some),
        lost_by_broker=sum(one.lost_by_broker for one in some),
        impossible=some[0].impossible,
    )


def markdown(outcome: Outcome, *, taken_at: datetime) -> str:
    """Summary, then a table of all faults."""
    verdict, aftermath = outcome.verdict, outcome.aftermath
    done = [one for one in outcome.rounds if not one.impossible]
    kills = sum(one.kills for one in done)
    others = sum(one.group not in ("kill", "broker kill") for one in done)
    broker = sum(one.group == "broker kill" for one in done)
    lines = [
        f"Taken {taken_at:%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"{outcome.broker}, {outcome.rate:,.0f} messages/s at QoS 1 for {outcome.seconds / 60:.1f} minutes: "
        f"{kills} kills, {others} other faults, {broker} kills of the broker.",
        "",
        "| what | count | must be | is |",
        "|---|---|---|---|",
        f"| acknowledged to the publisher, stored | {verdict.acknowledged:,} "
        f"| lost 0 | {verdict.lost - outcome.lost_by_broker} |",
        f"| lost by the killed broker, as its setting allows | | counted apart | {outcome.lost_by_broker} |",
        f"| rows stored | {verdict.stored:,} | doubled 0, foreign 0 | {verdict.twice}, {verdict.foreign} |",
        f"| crossings, alarms | {verdict.crossings:,}, {verdict.alarms:,} | missing 0, extra 0, standing 0 "
        f"| {verdict.alarms_missing}, {verdict.alarms_extra}, {verdict.alarms_standing} |",
        f"| alarms, incidents (the others joined the one of their cell) | {aftermath.alarms:,}, "
        f"{aftermath.incidents:,} | without 0, split 0 | {aftermath.unlinked + aftermath.waiting}, "
        f"{aftermath.split} |",
        f"| timelines proved by `city audit verify` | {outcome.audit.get('incidents')} incidents, "
        f"{outcome.audit.get('events')} events | broken 0 | {outcome.broken} |",
        f"| steps of deadlines written | {aftermath.steps:,} | twice 0, missing 0 "
        f"| {aftermath.steps_twice}, {aftermath.steps_missing} |",
        f"| reports of a person answered ({outcome.calls['attempts']:,} attempts) | {outcome.calls['answered']:,} "
        f"| lost 0, twice 0 | {outcome.calls['calls lost']}, {outcome.calls['calls twice']} |",
        f"| incidents that a screen shows otherwise than the database | | 0 | {outcome.wall_differs} |",
        "",
        "| fault | what is done | times | whole again after: median | worst | wrong |",
        "|---|---|---|---|---|---|",
    ]
    group = ""
    for row in rows(outcome.rounds):
        if row.group != group:
            group = row.group
            lines.append(f"| **{_GROUPS[group]}** | | | | | |")
        lines.append(_markdown_row(row))
    if outcome.faults:
        lines += ["", f"Wrong: {outcome.faults}"]
    return "\n".join(lines)


def _markdown_row(row: Row) -> str:
    if row.impossible:
        return f"| {row.fault} | {row.does} | not possible here: {row.impossible} | | | |"
    lost = f" ({row.lost_by_broker} lost by the broker)" if row.lost_by_broker else ""
    times = f"{row.median_s:.1f} s | {row.worst_s:.1f} s" if row.worst_s is not None else "never | never"
    return f"| {row.fault} | {row.does} | {row.times} | {times} | {row.wrong}{lost} |"


def write_into(page: Path, table: str) -> None:
    """Put it between the page's markers; raises ValueError when it has none."""
    text = page.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{page} has no place for it: {BEGIN} … {END}")
    page.write_text(pattern.sub(lambda _: f"{BEGIN}\n{table}\n{END}", text), encoding="utf-8")


def now() -> datetime:
    """For the head of the table."""
    return datetime.now(UTC)
