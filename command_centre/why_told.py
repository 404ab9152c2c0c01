"""What the words about an alarm are made from, and how numbers, metrics and instants are said. Pure."""

from collections.abc import Mapping, Sequence
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
    "slope": ("变化率", "rate of change", ""),
    "window_s": ("时间窗", "window", "s"),
    "samples": ("样本数", "samples", None),
    "min_samples": ("最少样本", "least samples", None),
    "noise": ("噪声下限", "noise floor", ""),
    "only_above": ("仅在此之上判断", "looks only above", ""),
    "to": ("将达限值", "limit ahead", ""),
    "within_s": ("预见期", "horizon", "s"),
    "clear_beyond_s": ("恢复预见期", "clears beyond", "s"),
    "seconds_to_limit": ("预计到达", "reaches it in", "s"),
    "for_s": ("不变时长限", "unchanged for at least", "s"),
    "same_for_s": ("不变时长", "unchanged for", "s"),
    "tolerance": ("容差", "tolerance", ""),
    "min_score": ("最低置信度", "least score", None),
    "score": ("置信度", "score", None),
    "label": ("识别", "label", None),
    "zone": ("区域", "zone", None),
    "expected_interval_s": ("应报间隔", "expected interval", "s"),
    "silent_for_s": ("静默时长", "silent for", "s"),
    "gateway_share": ("失联比例", "share that fell silent", None),
    "k": ("至少", "at least", None),
    "n": ("共", "of", None),
    "count": ("次数", "count", None),
    "gateway": ("网关", "gateway", None),
}
LEVELS: Mapping[str, Words] = {
    "warning": ("警戒", "the warning level"),
    "guaranteed": ("保证", "the guaranteed level"),
    "highest": ("历史最高", "the highest recorded level"),
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
        """An instant in the district's own time, to the second; nothing for none."""
        if said is None:
            return ""
        try:
            at = said if isinstance(said, datetime) else datetime.fromisoformat(str(said))
        except ValueError:
            return str(said)
        return f"{at.astimezone(self.zone):%Y-%m-%d %H:%M:%S}"


def metric_codes(alarm: Row, definition: Mapping[str, Any], main_metric: str | None) -> list[str]:
    """Which metrics' readings belong to the alarm: its own, those its evidence or rule names, else the kind's main."""
    codes = [alarm["metric"], alarm["evidence"].get("metric"), definition.get("metric")]
    codes += [one for one in definition.get("metrics", []) if isinstance(one, str)]
    codes += [one.get("metric") for one in definition.get("sign", []) if isinstance(one, Mapping)]
    known = [code for code in dict.fromkeys(codes) if isinstance(code, str)]
    return known or ([main_metric] if main_metric else [])


def number(value: object, unit: str = "") -> str:
    """With its unit; metres to the centimetre at least, nothing rounded that was said finer."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    text = f"{value:.2f}" if unit == "m" and round(value, 2) == value else f"{round(value, 4):g}"
    return f"{text} {unit}".rstrip()


def rule_names(told: Told) -> Words:
    rule = str(told.alarm["rule"])
    return str(told.definition.get("name") or rule), str(told.definition.get("name_en") or rule)
