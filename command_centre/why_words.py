"""An alarm's reason in words, Chinese and English, from its evidence and the rule as it was in force.

Pure. Each kind of rule has a sentence of its own; evidence of a kind that has none is told key by key, so that an
alarm never goes without words.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

Row = Mapping[str, Any]
Words = tuple[str, str]  # Chinese, English

# Keys of evidence that people read: name, unit. A unit of "" is the metric's own.
KEYS: Mapping[str, tuple[str, str, str | None]] = {
    "value": ("数值", "value", ""),
    "raise_at": ("报警限", "limit", ""),
    "clear_at": ("恢复限", "clears at", ""),
    "deadband": ("回差", "deadband", ""),
    "on_delay_s": ("报警延时", "on-delay", "s"),
    "off_delay_s": ("恢复延时", "off-delay", "s"),
    "slope_per_h": ("变化率", "rate of change", "/h"),
    "window_s": ("时间窗", "window", "s"),
    "samples": ("样本数", "samples", None),
    "min_samples": ("最少样本", "least samples", None),
    "noise_floor": ("噪声下限", "noise floor", ""),
    "horizon_s": ("预见期", "horizon", "s"),
    "reaches_in_s": ("预计到达", "reaches it in", "s"),
    "min_score": ("最低置信度", "least score", None),
    "score": ("置信度", "score", None),
    "label": ("识别", "label", None),
    "zone": ("区域", "zone", None),
    "expected_interval_s": ("应报间隔", "expected interval", "s"),
    "silent_for_s": ("静默时长", "silent for", "s"),
    "flat_for_s": ("不变时长", "unchanged for", "s"),
    "k": ("至少", "at least", None),
    "n": ("共", "of", None),
    "count": ("次数", "count", None),
    "gateway": ("网关", "gateway", None),
}
_LIMITS = (
    "raise_at",
    "clear_at",
    "deadband",
    "on_delay_s",
    "off_delay_s",
    "window_s",
    "min_samples",
    "noise_floor",
    "horizon_s",
    "min_score",
    "expected_interval_s",
    "silent_for_s",
    "k",
    "n",
)
_LEVELS: Mapping[str, Words] = {
    "warning": ("警戒", "the warning level"),
    "guaranteed": ("保证", "the guaranteed level"),
    "highest": ("历史最高", "the highest recorded level"),
}
_COLOURS: Mapping[str, Words] = {
    "blue": ("蓝色", "blue"),
    "yellow": ("黄色", "yellow"),
    "orange": ("橙色", "orange"),
    "red": ("红色", "red"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What the words are made from; rows as ``city.storage`` gives them."""

    alarm: Row
    definition: Mapping[str, Any]  # of the rule's version; empty when it is not stored
    rule: Row | None
    device: Row | None
    metrics: Mapping[str, Row]
    observations: Sequence[Row]
    revisions: Sequence[Row]
    kept_since: datetime  # readings before it are purged
    window: tuple[datetime, datetime]
    zone: ZoneInfo
    now: datetime

    @property
    def evidence(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.alarm["evidence"]
        return found

    def unit(self, metric: object = None) -> str:
        """The unit of a metric, of the alarm's own when none is named; "" when it has none."""
        row = self.metrics.get(str(metric or self.evidence.get("metric") or self.alarm["metric"]))
        return str(row["unit"]) if row else ""

    def named(self, metric: object = None) -> Words:
        code = str(metric or self.evidence.get("metric") or self.alarm["metric"] or "")
        row = self.metrics.get(code, {})
        return row.get("name") or code, row.get("name_en") or code

    def local(self, said: object) -> str:
        """An instant in the district's own time, to the second."""
        try:
            at = said if isinstance(said, datetime) else datetime.fromisoformat(str(said))
        except ValueError:
            return str(said)
        return f"{at.astimezone(self.zone):%Y-%m-%d %H:%M:%S}"


def metric_codes(alarm: Row, definition: Mapping[str, Any], main_metric: str | None) -> list[str]:
    """Which metrics' readings belong to the alarm: its own, those its evidence or rule names, else the kind's main."""
    codes = [alarm["metric"], alarm["evidence"].get("metric"), definition.get("metric")]
    codes += [one for one in definition.get("metrics", []) if isinstance(one, str)]
    known = [code for code in dict.fromkeys(codes) if isinstance(code, str)]
    return known or ([main_metric] if main_metric else [])


def number(value: object, unit: str = "") -> str:
    """With its unit; metres to the centimetre at least, nothing rounded that was said finer."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    text = f"{value:.2f}" if unit == "m" and round(value, 2) == value else f"{round(value, 4):g}"
    return f"{text} {unit}".rstrip()


# ── the sentence ─────────────────────────────────────────────────────────────────────────────────────


def sentence(told: Told) -> Words:
    """What a duty officer reads first: what was seen, against which limit, when, by which rule, and how it went on."""
    kind = str(told.definition.get("type", ""))
    zh, en = (_SENTENCES.get(kind) or _guess(told))(told)
    rule_zh, rule_en = _rule_words(told)
    ends_zh, ends_en = _end(told)
    grown = _level_words(told)
    return f"{zh}；{grown[0]}{rule_zh}；{ends_zh}。", f"{en}; {grown[1]}{rule_en}; {ends_en}."


def _guess(told: Told) -> Callable[[Told], Words]:
    """By the evidence, when the rule is not stored any more."""
    evidence = told.evidence
    if "raise_at" in evidence and "value" in evidence:
        return _threshold
    if "label" in evidence:
        return _detection
    if "never_heard" in evidence:
        return _silence
    return _any


def _threshold(told: Told) -> Words:
    evidence = told.evidence
    if "raise_at" not in evidence or "value" not in evidence:
        return _any(told)
    unit = told.unit()
    name, name_en = told.named()
    above = evidence.get("direction", "above") == "above"
    value, limit = number(evidence["value"], unit), number(evidence["raise_at"], unit)
    level, level_en = _limit_name(evidence.get("limit"))
    at = told.local(evidence.get("observed_at"))
    zh = f"{at} {name} {value} {'≥' if above else '≤'} {level}{limit}"
    en = f"{name_en} {value} {'>=' if above else '<='} {level_en}{limit} at {at}"
    if delay := evidence.get("on_delay_s"):
        zh, en = f"{zh}，持续 {number(delay)} s", f"{en}, lasting {number(delay)} s"
    if "clear_at" in evidence:
        clear = number(evidence["clear_at"], unit)
        zh = f"{zh}，{'低于' if above else '高于'} {clear} 才恢复"
        en = f"{en}, clears {'below' if above else 'above'} {clear}"
    return zh, en


def _limit_name(limit: object) -> Words:
    level = _LEVELS.get(str(limit).removeprefix("station."))
    return (f"{level[0]} ", f"{level[1]} ") if level else ("限值 ", "the limit ")


def _detection(told: Told) -> Words:
    evidence = told.evidence
    zone = str(evidence.get("zone") or "")
    at = told.local(evidence.get("observed_at"))
    score, least = evidence.get("score"), evidence.get("min_score")
    sure = "" if score is None else f"，置信度 {number(score)} ≥ {number(least)}"
    sure_en = (
        ", decided by the camera itself" if score is None else f", score {number(score)} >= {number(least)}"
    )
    return (
        f"{at} 摄像头识别到 {evidence.get('label')}{'（' + zone + '）' if zone else ''}{sure}",
        f"the camera saw {evidence.get('label')}{' in zone ' + zone if zone else ''} at {at}{sure_en}",
    )


def _silence(told: Told) -> Words:
    evidence = told.evidence
    interval = number(evidence.get("expected_interval_s"))
    waited = number(evidence.get("silent_for_s"))
    last = evidence.get("last_heard_at")
    if last is None:
        heard, heard_en = "登记后从未收到上报", "never heard since it was registered"
    else:
        heard, heard_en = f"最后一次收到上报 {told.local(last)}", f"last heard at {told.local(last)}"
    return (
        f"{heard}，应每 {interval} s 上报，我方正常接收的时间内已静默 {waited} s",
        f"{heard_en}; it should report every {interval} s and was silent for {waited} s in which we listened",
    )


def _any(told: Told) -> Words:
    """Key by key, what is known by name."""
    parts, parts_en = [], []
    for key, (zh, en, unit) in KEYS.items():
        value = told.evidence.get(key)
        if value is None or value == "" or isinstance(value, dict | list):
            continue
        shown = number(value, told.unit() if unit == "" else unit or "")
        parts.append(f"{zh} {shown}")
        parts_en.append(f"{en} {shown}")
    at = told.local(told.alarm["raised_at"])
    name, name_en = _rule_names(told)
    return (
        f"{at} {name}：{'，'.join(parts) or '依据见 evidence'}",
        f"{name_en} at {at}: {', '.join(parts_en) or 'see its evidence'}",
    )


_SENTENCES: Mapping[str, Callable[[Told], Words]] = {
    "threshold": _threshold,
    "detection": _detection,
    "silence": _silence,
}


def _rule_names(told: Told) -> Words:
    rule = str(told.alarm["rule"])
    return str(told.definition.get("name") or rule), str(told.definition.get("name_en") or rule)


def _rule_words(told: Told) -> Words:
    name, name_en = _rule_names(told)
    version = told.alarm["rule_version"]
    return (
        f"依据规则“{name}”（{told.alarm['rule']} 第{version}版）",
        f'by rule "{name_en}" ({told.alarm["rule"]}, version {version})',
    )


def _level_words(told: Told) -> Words:
    if told.alarm.get("level_since") is None:
        return "", ""
    zh, en = _COLOURS.get(str(told.alarm["level"]), (str(told.alarm["level"]),) * 2)
    at = told.local(told.alarm["level_since"])
    return f"{at} 起为{zh}；", f"{en} since {at}; "


def _end(told: Told) -> Words:
    cleared = told.alarm["cleared_at"]
    if cleared is None:
        return "尚未恢复", "it still stands"
    at = told.local(cleared)
    ended = told.evidence.get("cleared")
    value = ended.get("value") if isinstance(ended, Mapping) else None
    if value is None:
        return f"{at} 恢复", f"cleared at {at}"
    shown = number(value, told.unit())
    return f"{at} 恢复（{shown}）", f"cleared at {at} ({shown})"


# ── the rule, its limits, its scope ──────────────────────────────────────────────────────────────────


def rule_shown(told: Told) -> dict[str, Any]:
    """The version in force when it was raised: definition, names, author and reason."""
    name, name_en = _rule_names(told)
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
                "unit": told.unit() if unit == "" else unit or "",
                "source": source,
                "source_text": words[0],
                "source_text_en": words[1],
            }
        )
    return found


def _source(told: Told, key: str) -> tuple[str, Words]:
    limit = str(told.evidence.get("limit", ""))
    learned = told.evidence.get("learned") or told.evidence.get(f"{key}_learned")
    if learned:
        return "learned", ("由该设备自身数据习得", "learned from the device's own data")
    if key in ("raise_at", "clear_at") and limit.startswith("station."):
        level = _LEVELS.get(limit.removeprefix("station."), (limit, limit))
        more = ("", "") if key == "raise_at" else ("减回差", ", less the deadband")
        return "station", (f"测站{level[0]}水位{more[0]}", f"{level[1]} of the station{more[1]}")
    if key in ("raise_at", "clear_at") and told.definition.get("type") == "ladder":
        return "ladder", ("分级规则的一级", "a step of the ladder")
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
    now = told.device.get(level) if told.device is not None and level in _LEVELS else None
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
