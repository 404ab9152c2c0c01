"""Which response level the facts speak for: a pure proposal that a person confirms, or overrules with a reason.

Rising is proposed at once. Lowering is proposed only when no trigger of the present level has fired for hours,
since a flood that pauses is not over and a crew that was sent home comes back late.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from city.flood import (
    COLOUR_NAMES,
    COLOURS,
    LEVEL_NAMES,
    STATE_NAMES,
    Facts,
    Fired,
    Proposal,
    ResponseLevel,
    Standing,
    StationFact,
    Trigger,
    rank,
)
from city.stations import StationState

Seen = list[Mapping[str, object]]
_BANDS: tuple[StationState, ...] = ("normal", "warning", "guaranteed", "record")
RIPPLE_M = 0.05  # a level that plays round its limit is one crossing; as the deadband of the water rules


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """How long to wait before less is proposed; docs/flood.md says why these lengths."""

    lower_after: timedelta = timedelta(hours=3)
    withdraw_after: timedelta = timedelta(minutes=30)


def propose(
    triggers: Sequence[Trigger],
    facts: Facts,
    standing: Standing,
    now: datetime,
    holding: Holding | None = None,
) -> Proposal:
    """The level that the facts speak for, with what fired; never lower while a trigger of the present one fires.

    ``now`` is in the district's zone: the words name times by its clock.
    """
    holding = holding or Holding()
    fired = fire(triggers, facts)
    speaks = max((one.trigger.level for one in fired), key=rank, default=None)
    lingering = _unanswered(standing, now, holding.withdraw_after)
    if lingering is not None and rank(lingering) > max(rank(standing.level), rank(speaks)):
        until = standing.last_fired[lingering] + holding.withdraw_after
        return _said(lingering, fired, standing, held_until=until.astimezone(now.tzinfo))
    if speaks is not None and rank(speaks) >= rank(standing.level):
        return _said(speaks, fired, standing)
    if standing.level is None:
        return _said(None, fired, standing)
    calm_from = _calm_from(standing, now) + holding.lower_after
    if now < calm_from:
        return _said(standing.level, fired, standing, held_until=calm_from.astimezone(now.tzinfo))
    lower = max(_lately(standing, now, holding.lower_after), speaks, key=rank)
    return _said(lower, fired, standing)


def fired_at(
    proposal: Proposal, before: Mapping[ResponseLevel, datetime], now: datetime
) -> dict[ResponseLevel, datetime]:
    """When triggers of each level last fired, with what fires now."""
    levels = {one.trigger.level for one in proposal.fired}
    return {**before, **dict.fromkeys(levels, now)}


def _lately(standing: Standing, now: datetime, within: timedelta) -> ResponseLevel | None:
    recent = [level for level, at in standing.last_fired.items() if now - at < within]
    return max(recent, key=rank, default=None)


def _unanswered(standing: Standing, now: datetime, within: timedelta) -> ResponseLevel | None:
    """The most severe level spoken for lately and not answered by a person since."""
    open_ones = {
        level: at
        for level, at in standing.last_fired.items()
        if standing.since is None or at > standing.since
    }
    return _lately(replace(standing, last_fired=open_ones), now, within)


def _calm_from(standing: Standing, now: datetime) -> datetime:
    """The last time that anything spoke for the present level, or that a person set it."""
    spoken = [at for level, at in standing.last_fired.items() if rank(level) >= rank(standing.level)]
    if standing.since is not None:
        spoken.append(standing.since)
    return max(spoken, default=now)


def _said(
    level: ResponseLevel | None,
    fired: Sequence[Fired],
    standing: Standing,
    *,
    held_until: datetime | None = None,
) -> Proposal:
    name, name_en = LEVEL_NAMES[level] if level else ("不启动响应", "no response")
    present, present_en = LEVEL_NAMES[standing.level] if standing.level else ("未启动", "none")
    turn, turn_en = (
        ("维持", "Keep") if level == standing.level
        else ("建议启动" if level and rank(level) > rank(standing.level) else "建议调整为", "Propose")
    )  # fmt: skip
    why = "；".join(one.words for one in fired) or "没有触发条件成立"
    why_en = "; ".join(one.words_en for one in fired) or "no trigger fires"
    wait = f"；{held_until:%m-%d %H:%M} 前不建议降级" if held_until else ""
    wait_en = f"; nothing lower before {held_until:%m-%d %H:%M}" if held_until else ""
    return Proposal(
        level=level,
        fired=tuple(fired),
        words=f"{turn}{name}（现{present}）：{why}{wait}",
        words_en=f"{turn_en} {name_en} (now {present_en}): {why_en}{wait_en}",
        held_until=held_until,
    )


# ── triggers ─────────────────────────────────────────────────────────────────────────────────────────


def fire(triggers: Sequence[Trigger], facts: Facts) -> list[Fired]:
    """Those that fire, the most severe level first."""
    found = []
    for trigger in triggers:
        if not trigger.enabled:
            continue
        seen = _LOOK[trigger.kind](trigger, facts)
        if sum(_weight(one) for one in seen) >= trigger.count:
            names = "、".join(str(one["text"]) for one in seen[:5])
            names_en = ", ".join(str(one["text_en"]) for one in seen[:5])
            found.append(
                Fired(
                    trigger=trigger,
                    seen=tuple(seen),
                    words=f"{trigger.name}（{names}）",
                    words_en=f"{trigger.name_en} ({names_en})",
                )
            )
    return sorted(found, key=lambda one: -rank(one.trigger.level))


def _weight(seen: Mapping[str, object]) -> int:
    count = seen.get("count", 1)
    return count if isinstance(count, int) else 1


def _stations(trigger: Trigger, facts: Facts) -> Seen:
    wanted = _BANDS.index(trigger.state or "warning")
    seen: Seen = []
    for station in facts.stations:
        if station.state not in _BANDS or station.level_m is None or _BANDS.index(station.state) < wanted:
            continue
        limit = _lowest_limit(station, wanted)
        seen.append(_measured(station.code, station.name, station.level_m, limit, "m"))
    return seen


def _lowest_limit(station: StationFact, wanted: int) -> float | None:
    """The limit asked for, or the next above it that this station has."""
    limits = [station.limit(state) for state in _BANDS[wanted:]]
    return next((limit for limit in limits if limit is not None), None)


def _forecast(trigger: Trigger, facts: Facts) -> Seen:
    seen: Seen = []
    for station in facts.stations:
        limit = station.limit(trigger.state or "warning")
        forecast = station.forecast
        if limit is None or forecast is None or forecast.refused is not None:
            continue
        ahead = [point for point in forecast.points if point.horizon_s <= (trigger.within_h or 0) * 3600]
        reaching = [point for point in ahead if getattr(point, trigger.quantile) >= limit]
        if not reaching:
            continue
        first = reaching[0]
        value = float(getattr(first, trigger.quantile))
        hours = first.horizon_s / 3600
        seen.append(
            {
                **_measured(station.code, station.name, value, limit, "m"),
                "horizon_s": first.horizon_s,
                "text": f"{station.name} {hours:g}小时后 {value:.2f} m ≥ {limit:.2f} m",
                "text_en": f"{station.name} {value:.2f} m in {hours:g} h ≥ {limit:.2f} m",
            }
        )
    return seen


def _rain(trigger: Trigger, facts: Facts) -> Seen:
    hours, limit = trigger.hours or 1, trigger.mm or 0.0
    return [
        _measured(gauge.code, gauge.name, gauge.mm[hours], limit, "mm")
        for gauge in facts.rain
        if gauge.mm.get(hours, 0.0) >= limit
    ]


def _incidents(trigger: Trigger, facts: Facts) -> Seen:
    seen: Seen = []
    for (category, incident_class), count in sorted(facts.incidents.items()):
        own = category == trigger.category or category.startswith(trigger.category + ".")
        if own and incident_class <= trigger.incident_class and count > 0:
            seen.append(
                {
                    "category": category,
                    "class": incident_class,
                    "count": count,
                    "text": f"{incident_class}类 {count}件",
                    "text_en": f"{count} of class {incident_class}",
                }
            )
    return seen


def _warnings(trigger: Trigger, facts: Facts) -> Seen:
    least = COLOURS.index(trigger.colour or "blue")
    return [
        {
            "colour": colour,
            "count": facts.warnings[colour],
            "text": f"{COLOUR_NAMES[colour][0]} {facts.warnings[colour]}条",
            "text_en": f"{facts.warnings[colour]} {COLOUR_NAMES[colour][1].lower()}",
        }
        for colour in COLOURS[least:]
        if facts.warnings.get(colour, 0) > 0
    ]


_LOOK: Mapping[str, Callable[[Trigger, Facts], Seen]] = {
    "stations": _stations,
    "forecast": _forecast,
    "rain": _rain,
    "incidents": _incidents,
    "warnings": _warnings,
}


def _measured(code: str, name: str, value: float, limit: float | None, unit: str) -> Mapping[str, object]:
    digits = 2 if unit == "m" else 1
    against = "" if limit is None else f" ≥ {limit:.{digits}f} {unit}"
    text = f"{name} {value:.{digits}f} {unit}{against}"
    return {"code": code, "value": value, "limit": limit, "unit": unit, "text": text, "text_en": text}


# ── crossings ────────────────────────────────────────────────────────────────────────────────────────


def band(before: StationState | None, station: StationFact) -> StationState:
    """The band a station is in, left downward only a ripple below its limit; before None = seen the first time."""
    now = station.state
    if before not in _BANDS or now not in _BANDS or station.level_m is None:
        return now
    if _BANDS.index(now) >= _BANDS.index(before):
        return now
    held = replace(station, state=before)
    limit = held.limit(before)
    return before if limit is not None and station.level_m > limit - RIPPLE_M else now


def crossing_words(before: StationState, after: StationState, station: StationFact) -> tuple[str, str]:
    """What the duty log says of a station that changed its band, Chinese and English."""
    level = "" if station.level_m is None else f" {station.level_m:.2f} m"
    rose = before in _BANDS and after in _BANDS and _BANDS.index(after) > _BANDS.index(before)
    limit = station.limit(after if rose else before)
    against = "" if limit is None else f"{limit:.2f} m"
    if after not in _BANDS:
        return f"{station.name}：{STATE_NAMES[after][0]}", f"{station.name}: {STATE_NAMES[after][1]}"
    if before not in _BANDS:
        return (
            f"{station.name}{level}：恢复数据，{STATE_NAMES[after][0]}",
            f"{station.name}{level}: data again, {STATE_NAMES[after][1]}",
        )
    state, state_en = STATE_NAMES[after if rose else before]
    turn, turn_en = ("超过", "rose above") if rose else ("退至以下", "fell below")
    return (
        f"{station.name}{level}：{turn}{state} {against}",
        f"{station.name}{level}: {turn_en} the {state_en} {against}",
    )
