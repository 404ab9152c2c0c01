"""What a duty officer reads of an alarm: what was seen, against which limit, when, by which rule, how it went on.

Pure; Chinese and English. Each kind of rule has a sentence of its own; evidence of a kind that has none is told key
by key, so that an alarm never goes without words.
"""

from collections.abc import Callable, Mapping
from typing import Any

from command_centre.why_told import KEYS, LEVELS, Told, Words, number, rule_names

_COLOURS: Mapping[str, Words] = {
    "blue": ("蓝色", "blue"),
    "yellow": ("黄色", "yellow"),
    "orange": ("橙色", "orange"),
    "red": ("红色", "red"),
}
_PER: Mapping[int, Words] = {
    60: ("每分钟", "a minute"),
    3600: ("每小时", "an hour"),
    86400: ("每天", "a day"),
}


def sentence(told: Told) -> Words:
    """One sentence in each language."""
    kind = str(told.definition.get("type", ""))
    zh, en = (_SENTENCES.get(kind) or _guess(told))(told)
    rule_zh, rule_en = _rule(told)
    ends_zh, ends_en = _end(told)
    grown = _level(told)
    return f"{zh}；{grown[0]}{rule_zh}；{ends_zh}。", f"{en}; {grown[1]}{rule_en}; {ends_en}."


def _guess(told: Told) -> Callable[[Told], Words]:
    """By the evidence, when the rule is not stored any more."""
    evidence = told.evidence
    for key, words in (
        ("signs", _maintenance),
        ("same_for_s", _stuck),
        ("within_s", _projection),
        ("slope", _rate),
        ("label", _detection),
        ("never_heard", _silence),
    ):
        if key in evidence:
            return words
    return _threshold if "raise_at" in evidence and "value" in evidence else _any


# ── a number against a limit ─────────────────────────────────────────────────────────────────────────


def _threshold(told: Told) -> Words:
    evidence = told.evidence
    if "raise_at" not in evidence or "value" not in evidence:
        return _any(told)
    unit = told.unit()
    name, name_en = told.named()
    above = evidence.get("direction", "above") == "above"
    value, limit = number(evidence["value"], unit), number(evidence["raise_at"], unit)
    level, level_en = _limit_name(evidence)
    at = told.local(evidence.get("observed_at"))
    zh = f"{at} {name} {value} {'≥' if above else '≤'} {level}{limit}"
    en = f"{name_en} {value} {'>=' if above else '<='} {level_en}{limit} at {at}"
    if counted := evidence.get("n_of_m"):
        zh, en = (
            f"{zh}，最近 {counted[1]} 次中 {counted[0]} 次",
            f"{en}, {counted[0]} of the last {counted[1]}",
        )
    if delay := evidence.get("on_delay_s"):
        zh, en = f"{zh}，持续 {number(delay)} s", f"{en}, lasting {number(delay)} s"
    if "clear_at" in evidence:
        clear = number(evidence["clear_at"], unit)
        zh = f"{zh}，{'低于' if above else '高于'} {clear} 才恢复"
        en = f"{en}, clears {'below' if above else 'above'} {clear}"
    return zh, en


def _limit_name(evidence: Mapping[str, Any]) -> Words:
    level = LEVELS.get(str(evidence.get("limit")).removeprefix("station."))
    if level is None:
        return "限值 ", "the limit "
    offset = evidence.get("offset")
    shift = f"{offset:+g} m" if isinstance(offset, int | float) and offset else ""
    return (f"{level[0]}{shift} ", f"{level[1]}{' ' + shift if shift else ''} ")


def _rate(told: Told) -> Words:
    evidence = told.evidence
    unit = told.unit()
    name, name_en = told.named()
    per, per_en = _per(evidence.get("per_s"))
    at = told.local(evidence.get("observed_at"))
    slope, limit = number(evidence.get("slope"), unit), number(evidence.get("raise_at"), unit)
    sign = "≥" if evidence.get("direction", "above") == "above" else "≤"
    window, samples = number(evidence.get("window_s")), evidence.get("samples")
    return (
        f"{at} {name}变化率{per} {slope} {sign} {limit}（{window} s 内 {samples} 个读数的稳健斜率），"
        f"当时读数 {number(evidence.get('value'), unit)}",
        f"{name_en} changed by {slope} {per_en} {'>=' if sign == '≥' else '<='} {limit} at {at} "
        f"(robust slope of {samples} readings in {window} s), reading {number(evidence.get('value'), unit)}",
    )


def _per(seconds: object) -> Words:
    known = _PER.get(int(seconds)) if isinstance(seconds, int | float) else None
    return known or (f"每 {seconds} s", f"in {seconds} s")


def _projection(told: Told) -> Words:
    evidence = told.evidence
    unit = told.unit()
    name, name_en = told.named()
    per, per_en = _per(evidence.get("per_s"))
    level, level_en = _limit_name(evidence)
    at = told.local(evidence.get("observed_at"))
    value, to = number(evidence.get("value"), unit), number(evidence.get("to"), unit)
    slope, within = number(evidence.get("slope"), unit), number(evidence.get("within_s"))
    left = evidence.get("seconds_to_limit")
    reach = (
        "" if left is None else f"，约 {number(left)} s 后（{told.local(evidence.get('expected_at'))}）到达"
    )
    reach_en = (
        ""
        if left is None
        else f", reached in about {number(left)} s ({told.local(evidence.get('expected_at'))})"
    )
    return (
        f"{at} {name} {value}，按{per} {slope} 推算 {within} s 内将达{level}{to}{reach}",
        f"{name_en} {value} at {at}, at {slope} {per_en}, would reach {level_en}{to} within {within} s{reach_en}",
    )


def _stuck(told: Told) -> Words:
    evidence = told.evidence
    name, name_en = told.named()
    value = number(evidence.get("value"), told.unit())
    since, same = told.local(evidence.get("window_from")), number(evidence.get("same_for_s"))
    limit = number(evidence.get("for_s"))
    return (
        f"{name}自 {since} 起一直为 {value}，已 {same} s 不变 ≥ {limit} s，疑似传感器卡死",
        f"{name_en} has stood at {value} since {since}, {same} s >= {limit} s: the sensor may be stuck",
    )


# ── events, silence, signs ───────────────────────────────────────────────────────────────────────────


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
    what, what_en = told.named(evidence["metric"]) if evidence.get("metric") else ("", "")
    if last is None:
        heard, heard_en = (
            f"登记后从未收到{what}上报",
            f"{what_en} never heard since it was registered".strip(),
        )
    else:
        at = told.local(last)
        heard, heard_en = f"最后一次收到{what}上报 {at}", f"{what_en} last heard at {at}".strip()
    learned = evidence.get("cadence") == "learned"
    usual, usual_en = ("习得间隔", "usually reports") if learned else ("应每", "should report")
    zh = f"{heard}，{usual} {interval} s 上报，我方正常接收的时间内已静默 {waited} s"
    en = f"{heard_en}; it {usual_en} every {interval} s and was silent for {waited} s in which we listened"
    if children := evidence.get("children"):
        zh = f"{zh}；网关下 {children} 台设备不再单独报警"
        en = f"{en}; its {children} devices behind it are not raised one by one"
        if evidence.get("told_by_children"):
            silent = evidence.get("silent_children")
            zh, en = f"{zh}（其中 {silent} 台同时失联）", f"{en} ({silent} of them fell silent together)"
    return zh, en


def _maintenance(told: Told) -> Words:
    parts, parts_en = [], []
    for sign in told.evidence.get("signs", []):
        unit = told.unit(sign.get("metric"))
        above = sign.get("direction", "above") == "above"
        value, limit = number(sign.get("value"), unit), number(sign.get("raise_at"), unit)
        at = told.local(sign.get("observed_at"))
        parts.append(f"{sign.get('name')}（{value} {'≥' if above else '≤'} {limit}，{at}）")
        parts_en.append(f"{sign.get('name_en')} ({value} {'>=' if above else '<='} {limit} at {at})")
    if not parts:
        return _any(told)
    return f"设备需要维护：{'，'.join(parts)}", f"the device needs maintenance: {', '.join(parts_en)}"


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
    name, name_en = rule_names(told)
    return (
        f"{at} {name}：{'，'.join(parts) or '依据见 evidence'}",
        f"{name_en} at {at}: {', '.join(parts_en) or 'see its evidence'}",
    )


_SENTENCES: Mapping[str, Callable[[Told], Words]] = {
    "threshold": _threshold,
    "ladder": _threshold,
    "rate": _rate,
    "projection": _projection,
    "stuck": _stuck,
    "detection": _detection,
    "silence": _silence,
    "maintenance": _maintenance,
}


# ── by which rule, and how it went on ────────────────────────────────────────────────────────────────


def _rule(told: Told) -> Words:
    name, name_en = rule_names(told)
    version = told.alarm["rule_version"]
    return (
        f"依据规则“{name}”（{told.alarm['rule']} 第{version}版）",
        f'by rule "{name_en}" ({told.alarm["rule"]}, version {version})',
    )


def _level(told: Told) -> Words:
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
