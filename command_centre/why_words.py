"""The rule, the limits, the scope and the doubts of an alarm, in words, Chinese and English. Pure."""

from collections.abc import Sequence
from typing import Any

from command_centre.why_told import KEYS, LEVELS, Row, Told, Words, number, rule_names

_LIMITS = (
    "raise_at",
    "clear_at",
    "deadband",
    "on_delay_s",
    "off_delay_s",
    "window_s",
    "min_samples",
    "noise",
    "only_above",
    "to",
    "within_s",
    "clear_beyond_s",
    "for_s",
    "tolerance",
    "min_score",
    "expected_interval_s",
    "silent_for_s",
    "gateway_share",
    "k",
    "n",
)


def rule_shown(told: Told) -> dict[str, Any]:
    """The version in force when it was raised: definition, names, author and reason."""
    name, name_en = rule_names(told)
    shown: dict[str, Any] = {
        "id": told.alarm["rule"],
        "version": told.alarm["rule_version"],
        "name": name,
        "name_en": name_en,
        "stored": told.rule is not None,
    }
    return shown | (dict(told.rule) if told.rule is not None else {"definition": None})


def limits(told: Told) -> list[dict[str, Any]]:
    """Each limit in force with its unit and where it came from: the rule, the station, the device, what was learned."""
    found = []
    for key in _LIMITS:
        value = told.evidence.get(key)
        if value is None or isinstance(value, dict | list):
            continue
        zh, en, unit = KEYS[key]
        source, words = _source(told, key)
        found.append(
            {
                "key": key,
                "name": zh,
                "name_en": en,
                "value": value,
                "unit": _unit(told, key) if unit == "" else unit or "",
                "source": source,
                "source_text": words[0],
                "source_text_en": words[1],
            }
        )
    return found


def _unit(told: Told, key: str) -> str:
    """The metric's; a limit of a slope is the metric's in a span of time."""
    per = told.evidence.get("per_s")
    if key in ("raise_at", "clear_at") and "slope" in told.evidence and isinstance(per, int | float):
        span = {60: "min", 3600: "h", 86400: "d"}.get(int(per), f"{per} s")
        return f"{told.unit()}/{span}"
    return told.unit()


def _source(told: Told, key: str) -> tuple[str, Words]:
    limit = str(told.evidence.get("limit", ""))
    if key in ("expected_interval_s", "silent_for_s") and told.evidence.get("cadence") == "learned":
        return "learned", ("由该设备自身数据习得", "learned from the device's own data")
    station = LEVELS.get(limit.removeprefix("station.")) if limit.startswith("station.") else None
    if key in ("raise_at", "clear_at", "to") and station is not None:
        more = ("减回差", ", less the deadband") if key == "clear_at" else ("", "")
        words = f"测站{station[0]}水位{more[0]}", f"{station[1]} of the station{more[1]}"
    else:
        words = ("规则中的常数", "a constant of the rule")
    step = told.evidence.get("level_step")
    if key in ("raise_at", "clear_at") and step is not None:
        return "ladder", (f"分级规则第{step}级：{words[0]}", f"step {step} of the ladder: {words[1]}")
    if key in ("raise_at", "clear_at", "to") and station is not None:
        return "station", words
    if key == "expected_interval_s":
        own = told.device is not None and told.device["own_interval"]
        return "register", (
            ("设备自身的上报间隔", "the device's own interval")
            if own
            else ("设备类型的上报间隔", "its kind's interval")
        )
    return "constant", ("规则中的常数", "a constant of the rule")


_SCOPES: Sequence[tuple[str, str, Words]] = (
    ("devices", "code", ("设备", "device")),
    ("cells", "cell", ("网格", "cell")),
    ("communities", "community", ("社区", "community")),
    ("streets", "street", ("街道", "street")),
    ("tags", "tags", ("标签", "tag")),
    ("models", "model", ("型号", "model")),
    ("kinds", "kind", ("类型", "kind")),
)


def scope(told: Told) -> dict[str, Any]:
    """What of the rule's scope the device matched, and why this rule and no other of its family."""
    definition, device = told.definition, told.device
    if device is None or not definition:
        return {"matched": {}, "family": None, "text": "", "text_en": ""}
    asked: dict[str, Any] = {**definition.get("scope", {})}
    kinds = definition.get("kinds") or ([definition["kind"]] if definition.get("kind") else [])
    matched: dict[str, list[str]] = {}
    for key, of_device, _ in _SCOPES:
        wanted = {str(one) for one in (kinds if key == "kinds" else asked.get(key, []))}
        has = device[of_device]
        both = sorted(wanted & (set(has) if isinstance(has, list) else {str(has)}))
        if both:
            matched[key] = both
    words = [(names, matched[key]) for key, _, names in _SCOPES if key in matched]
    zh = "，".join(f"{names[0]} {' '.join(codes)}" for names, codes in words) or "全部设备"
    en = ", ".join(f"{names[1]} {' '.join(codes)}" for names, codes in words) or "every device"
    family = str(definition.get("family") or told.alarm["rule"])
    return {
        "matched": matched,
        "family": family,
        "text": f"适用范围：{zh}；同族“{family}”规则中最具体者生效",
        "text_en": f"applies to {en}; of the rules of family {family} the most specific is in force",
    }


# ── what to know beside it ───────────────────────────────────────────────────────────────────────────


def notes(told: Told) -> list[dict[str, str]]:
    """Doubts and circumstances, each with a code."""
    found: list[tuple[str, Words]] = []
    found += _notes_of_alarm(told)
    found += _notes_of_rule(told)
    found += _notes_of_data(told)
    return [{"code": code, "text": zh, "text_en": en} for code, (zh, en) in found]


def _notes_of_alarm(told: Told) -> list[tuple[str, Words]]:
    alarm, evidence = told.alarm, told.evidence
    found: list[tuple[str, Words]] = []
    if alarm["exercise"]:
        found.append(("exercise", ("演练报警", "this is an exercise")))
    if alarm["suppressed"]:
        found.append(
            (
                "suppressed",
                (f"按设计抑制：{alarm['suppressed']}", f"suppressed by design: {alarm['suppressed']}"),
            )
        )
    if alarm["late"]:
        found.append(
            ("late", ("依据的数据到达时已超过5分钟", "rests on data more than 5 minutes old on arrival"))
        )
    if evidence.get("backfill"):
        found.append(("backfill", ("由补传的历史数据判定", "found in data that were filled in later")))
    if alarm["unclaimed"]:
        found.append(("unclaimed", ("设备未认领", "the device is unclaimed")))
    return found


def _notes_of_rule(told: Told) -> list[tuple[str, Words]]:
    if told.rule is None:
        if told.device is None:
            return []
        return [
            ("rule_not_stored", ("规则的该版本已不在库中", "this version of the rule is no longer stored"))
        ]
    found: list[tuple[str, Words]] = []
    active = told.rule["active_version"]
    if active is None:
        found.append(("rule_retired", ("该规则现已停用", "the rule is no longer in force")))
    elif active != told.alarm["rule_version"]:
        found.append(
            ("rule_changed", (f"规则现为第{active}版", f"version {active} of the rule is in force now"))
        )
    level = str(told.evidence.get("limit", "")).removeprefix("station.")
    now = told.device.get(level) if told.device is not None and level in LEVELS else None
    was = told.evidence.get("raise_at")
    if now is not None and isinstance(was, int | float) and abs(now - was) > 1e-9:
        shown, before = number(now, "m"), number(was, "m")
        found.append(
            (
                "limit_changed",
                (
                    f"测站该水位现为 {shown}，当时为 {before}",
                    f"that level of the station is {shown} now, it was {before}",
                ),
            )
        )
    return found


def _notes_of_data(told: Told) -> list[tuple[str, Words]]:
    found: list[tuple[str, Words]] = []
    observed = told.evidence.get("observed_at")
    deciding = [row for row in told.observations if row["deciding"]]
    if told.device is not None and observed is not None and told.metrics and not deciding:
        if told.window[0] < told.kept_since:
            words = (
                "当时的读数已超过保存期，已清除；以 evidence 为准",
                "its readings were purged by retention; the evidence remains",
            )
            found.append(("purged", words))
        elif "label" not in told.evidence:
            found.append(("not_stored", ("库中没有判定所用的读数", "the deciding reading is not stored")))
    found += [("revised", _revised(told, row)) for row in told.revisions if _same(row, deciding)]
    for row in deciding:
        if row["quality"]:
            shown = "、".join(row["quality"]), ", ".join(row["quality"])
            found.append(("marked", (f"该读数带有标记：{shown[0]}", f"that reading is marked: {shown[1]}")))
    if len(told.observations) >= 2 and told.observations[0]["observed_at"] > told.window[0] and _cut(told):
        found.append(("cut", ("只列出最接近的读数", "only the readings nearest to it are listed")))
    return found


def _same(revision: Row, deciding: Sequence[Row]) -> bool:
    return any(
        (row["metric"], row["observed_at"]) == (revision["metric"], revision["observed_at"])
        for row in deciding
    )


def _revised(told: Told, revision: Row) -> Words:
    shown, at = number(revision["value"], told.unit(revision["metric"])), told.local(revision["received_at"])
    return (
        f"判定所用的读数后于 {at} 收到另一数值 {shown}；首个数值保留",
        f"another value of the deciding reading, {shown}, came at {at}; the first one stays",
    )


def _cut(told: Told) -> bool:
    return len(told.observations) >= 250
