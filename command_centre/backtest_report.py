"""A back-test's result in the words of the API and of ``--json``: codes for ids, RFC 3339 for instants."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median

from city.observations import instant
from command_centre.rule_backtest import BacktestError, Result
from rules import backtest
from rules.backtest import Difference, Event, Line, Marks
from rules.episodes import Episode
from rules.kinds import KINDS
from rules.rule import Rule
from rules.silence import SilenceRule

MOST_EPISODES = 5_000  # of one answer, the first of the span; sums and tables count all
MOST_DEVICES = 5_000
SECOND_US = backtest.SECOND_US

MarkedEvent = tuple[str, int, int, str]  # device code, onset and end in microseconds since 1970 UTC, label


def report(
    result: Result,
    rules: Sequence[Rule],
    *,
    marked: Sequence[MarkedEvent] | None = None,
    before_us: int = backtest.BEFORE_US,
    late_after_us: int = backtest.LATE_AFTER_US,
) -> dict[str, object]:
    """Of the first set of rules; the second, if there is one, are the rules in force that it differs from."""
    span = result.span
    codes = {fact.device_id: fact.code for fact in result.ground.facts}
    sides = [backtest.within(side, span.from_us, span.to_us) for side in result.episodes]
    episodes = sides[0]
    marks = _marks(episodes, result, marked, before_us, late_after_us)
    lines = backtest.table(episodes, result.readings, marks, from_us=span.from_us, to_us=span.to_us)
    metrics = {number: code for code, number in result.ground.metrics.items()}
    return {
        "from": _when(span.from_us),
        "to": _when(span.to_us),
        "days": round(span.days, 3),
        "readings": result.rows,
        "detections": result.detections,
        "seconds": round(result.seconds, 3),
        "readings_per_s": round(result.rows / result.seconds) if result.seconds > 0 else None,
        "tick_s": result.tick_s,
        "rules": [_rule(rule) for rule in rules],
        "totals": asdict(backtest.totals(episodes, span.from_us, span.to_us)),
        "devices": [_line(line, codes) for line in lines[:MOST_DEVICES]],
        "devices_left_out": max(0, len(lines) - MOST_DEVICES),
        "episodes": [_episode(episode, codes, metrics, result) for episode in episodes[:MOST_EPISODES]],
        "episodes_left_out": max(0, len(episodes) - MOST_EPISODES),
        "marks": None if marks is None else _marks_said(marks, codes, metrics, result),
        "difference": None
        if len(sides) < 2
        else _difference(backtest.differ(sides[0], sides[1], to_us=span.to_us), codes, metrics, result),
        "notes": _notes(result, rules),
    }


def _when(at_us: int) -> str:
    return instant(at_us).isoformat().replace("+00:00", "Z")


def _rule(rule: Rule) -> dict[str, object]:
    kinds = [name for name, kind in KINDS.items() if kind.rule is type(rule)]
    return {
        "id": rule.rule_id,
        "version": rule.version,
        "type": kinds[0] if kinds else "",
        "name": rule.name,
        "name_en": rule.name_en,
    }


def _line(line: Line, codes: Mapping[int, str]) -> dict[str, object]:
    return {"device": codes.get(line.device_id, str(line.device_id)), **asdict(line)} | {
        "device_id": line.device_id
    }


def _episode(
    episode: Episode, codes: Mapping[int, str], metrics: Mapping[int, str], result: Result
) -> dict[str, object]:
    span = result.span
    return {
        "rule": episode.rule_id,
        "version": episode.rule_version,
        "device": codes.get(episode.device_id, str(episode.device_id)),
        "metric": None if episode.metric_id is None else metrics.get(episode.metric_id),
        "raised_at": _when(episode.raised_us),
        "cleared_at": None if episode.cleared_us is None else _when(episode.cleared_us),
        "seconds": backtest.lasted_us(episode, span.from_us, span.to_us) / SECOND_US,
        "level": episode.level,
        "levels": [{"at": _when(at), "level": level} for at, level in episode.levels],
        "peak": episode.peak,
        "peak_at": None if episode.peak is None else _when(episode.peak_us),
        "repeats": episode.repeats,
        "late": episode.late,
        "suppressed": episode.suppressed,
        "evidence": dict(episode.evidence),
    }


# ── against what people marked ───────────────────────────────────────────────────────────────────────


def _marks(
    episodes: Sequence[Episode],
    result: Result,
    marked: Sequence[MarkedEvent] | None,
    before_us: int,
    late_after_us: int,
) -> Marks | None:
    """None without marks; what lies outside the span, or is of a device that was not asked for, does not count."""
    if marked is None:
        return None
    ids = {fact.code: fact.device_id for fact in result.ground.facts}
    span = result.span
    events = [
        Event(device_id=ids[code], onset_us=onset, end_us=end, label=label)
        for code, onset, end, label in marked
        if code in ids and onset < span.to_us and end >= span.from_us
    ]
    if marked and not events:
        raise BacktestError(
            f"marks: none of {len(marked)} is of a device and a time that was asked for;"
            " check the codes and --from, --to"
        )
    return backtest.against(
        episodes, events, to_us=span.to_us, before_us=before_us, late_after_us=late_after_us
    )


def _marks_said(
    marks: Marks, codes: Mapping[int, str], metrics: Mapping[int, str], result: Result
) -> dict[str, object]:
    leads = [finding.lead_us / SECOND_US / 60 for finding in marks.findings if finding.lead_us is not None]
    return {
        "events": len(marks.findings),
        "hits": marks.hits,
        "missed": len(marks.findings) - marks.hits,
        "late": sum(finding.late for finding in marks.findings),
        "false": len(marks.false),
        "pod": marks.pod,
        "far": marks.far,
        "median_lead_min": median(leads) if leads else None,
        "findings": [
            {
                "device": codes.get(finding.event.device_id, ""),
                "onset": _when(finding.event.onset_us),
                "end": _when(finding.event.end_us),
                "label": finding.event.label,
                "found": finding.lead_us is not None,
                "late": finding.late,
                "lead_min": None if finding.lead_us is None else finding.lead_us / SECOND_US / 60,
            }
            for finding in marks.findings[:MOST_EPISODES]
        ],
        "false_episodes": [
            _episode(episode, codes, metrics, result) for episode in marks.false[:MOST_EPISODES]
        ],
    }


def _difference(
    difference: Difference, codes: Mapping[int, str], metrics: Mapping[int, str], result: Result
) -> dict[str, object]:
    def said(episodes: Sequence[Episode]) -> list[dict[str, object]]:
        return [_episode(episode, codes, metrics, result) for episode in episodes[:MOST_EPISODES]]

    return {
        "kept": difference.kept,
        "gained": len(difference.gained),
        "lost": len(difference.lost),
        "median_earlier_s": median(difference.moved_s) if difference.moved_s else None,
        "gained_episodes": said(difference.gained),
        "lost_episodes": said(difference.lost),
    }


def _notes(result: Result, rules: Sequence[Rule]) -> list[dict[str, str]]:
    """What the figures rest on and a reader could not know."""
    notes = []
    listened = result.ground.listened
    if listened is not None and not listened:
        notes.append(
            {
                "zh": "该时段没有采集在线记录：静默与按时钟结束的延时不成立，可用 --listening always",
                "en": "nothing recorded that ingest listened in this span, so no silence and no delay ended by"
                " the clock; --listening always assumes it did",
            }
        )
    if any(isinstance(rule, SilenceRule) for rule in rules):
        notes.append(
            {
                "zh": f"静默的判断精确到 {result.tick_s:g} 秒；在线状态消息没有历史，不计入",
                "en": f"silence is exact to {result.tick_s:g} s; status messages leave no history and do not"
                " count as a word",
            }
        )
    if rules and any(rule.scope.weight for rule in rules):
        notes.append(
            {
                "zh": "设备归属、站点水位按现在的登记计算",
                "en": "scopes and station levels are those of the register as it is now",
            }
        )
    return notes
