"""Charts of a back-test: values, limits, episodes and marks of each device, as one file that asks nobody for anything.

``.html`` has the busiest devices one under the other, ``.svg`` the busiest one. A chart has a point for each step
of its width: the least and the most of the step, so that no crest is lost.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import escape
from math import floor, isfinite, log10
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from city.errors import CityError
from city.observations import Readings, instant
from command_centre.backtest_report import MarkedEvent
from command_centre.rule_backtest import Result, Source, Wanted
from rules import backtest
from rules.episodes import Episode
from rules.rule import Rule

MOST_DEVICES = 12
WIDTH, HEIGHT = 1180, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 34, 34
STEPS = WIDTH - LEFT - RIGHT
SECOND_US = 1_000_000
COLOURS = {"blue": "#2f6fde", "yellow": "#c79a00", "orange": "#e06c00", "red": "#cf2030"}
_STEPS_S = (
    60,
    300,
    900,
    3600,
    10_800,
    21_600,
    43_200,
    86_400,
    172_800,
    604_800,
    2_592_000,
    7_776_000,
    31_536_000,
)


@dataclass(slots=True)
class Line:
    """Least and most value of a device's metric in each step; NaN = nothing in it."""

    low: NDArray[np.float64] = field(default_factory=lambda: np.full(STEPS, np.nan))
    high: NDArray[np.float64] = field(default_factory=lambda: np.full(STEPS, np.nan))


def write(
    path: Path, result: Result, rules: Sequence[Rule], source: Source, marked: Sequence[MarkedEvent]
) -> None:
    """Raises CityError for another kind of file, OSError when it cannot be written."""
    suffix = path.suffix.lower()
    if suffix not in (".html", ".svg"):
        raise CityError(f"--chart = {path}: name a file that ends in .html or .svg")
    episodes = backtest.within(result.episodes[0], result.span.from_us, result.span.to_us)
    devices = _chosen(episodes, result)[: MOST_DEVICES if suffix == ".html" else 1]
    lines = _lines(devices, rules, result, source)
    panels = [_panel(device, lines, episodes, result, marked) for device in devices]
    if suffix == ".svg":
        path.write_text(panels[0] if panels else _svg("", ""), encoding="utf-8")
    else:
        path.write_text(_page(panels, rules, result, len(episodes)), encoding="utf-8")


def _chosen(episodes: Sequence[Episode], result: Result) -> list[int]:
    """Devices with the most episodes, then those with the most readings."""
    lines = backtest.table(
        episodes, result.readings, None, from_us=result.span.from_us, to_us=result.span.to_us
    )
    return [line.device_id for line in lines]


def _lines(
    devices: Sequence[int], rules: Sequence[Rule], result: Result, source: Source
) -> dict[tuple[int, int], Line]:
    """By device and metric, read once more: while the rules ran nobody knew which devices would be shown."""
    metrics = frozenset(metric for rule in rules for metric in rule.metrics())
    lines: dict[tuple[int, int], Line] = {}
    if not metrics:
        return lines
    wanted = Wanted(span=result.span, metrics=metrics, detections=False, device_ids=frozenset(devices))
    shown = np.zeros(max(devices, default=0) + 1, dtype=np.bool_)
    shown[list(devices)] = True
    ids = [result.ground.metrics[code] for code in metrics if code in result.ground.metrics]
    for readings, _ in source.blocks(wanted, result.ground, sort=True):
        known = readings.device < len(shown)
        mask = known & shown[np.where(known, readings.device, 0)] & np.isin(readings.metric, ids)
        _gather(lines, readings.take(mask), result)
    return lines


def _gather(lines: dict[tuple[int, int], Line], readings: Readings, result: Result) -> None:
    span = result.span
    step = (readings.observed_us - span.from_us) * STEPS // max(span.to_us - span.from_us, 1)
    inside = (step >= 0) & (step < STEPS)
    key = readings.device.astype(np.int64) << 16 | readings.metric
    for one in np.unique(key[inside]).tolist():
        rows = inside & (key == one)
        line = lines.setdefault((one >> 16, one & 0xFFFF), Line())
        np.fmin.at(line.low, step[rows], readings.value[rows])
        np.fmax.at(line.high, step[rows], readings.value[rows])


# ── one device ───────────────────────────────────────────────────────────────────────────────────────


def _panel(
    device: int,
    lines: Mapping[tuple[int, int], Line],
    episodes: Sequence[Episode],
    result: Result,
    marked: Sequence[MarkedEvent],
) -> str:
    own = [episode for episode in episodes if episode.device_id == device]
    code = next((fact.code for fact in result.ground.facts if fact.device_id == device), str(device))
    of_device = {metric: line for (number, metric), line in lines.items() if number == device}
    metric = _metric(own, of_device)
    line = of_device.get(metric, Line()) if metric is not None else Line()
    limits = _limits(own)
    scale = _Scale.of(line, limits)
    name = {number: code for code, number in result.ground.metrics.items()}.get(metric or 0, "")
    parts = [
        f'<text x="{LEFT}" y="20" class="t">{escape(code)} · {escape(name)}</text>',
        f'<text x="{WIDTH - RIGHT}" y="20" class="n" text-anchor="end">报警 alarms {len(own)}</text>',
        *_shades(own, result),
        *_axis(scale, result),
        *_marks(code, marked, result),
        *_curve(line, scale),
        *(_limit(value, text, scale) for value, text in limits),
    ]
    return _svg("".join(parts), f"{code} {name}")


def _metric(own: Sequence[Episode], lines: Mapping[int, Line]) -> int | None:
    said = [episode.metric_id for episode in own if episode.metric_id in lines]
    return said[0] if said else next(iter(sorted(lines)), None)


def _limits(own: Sequence[Episode]) -> list[tuple[float, str]]:
    """Limits that the episodes' evidence names; those of a slope are in another unit and cannot be drawn."""
    limits: dict[float, str] = {}
    for episode in own:
        evidence = episode.evidence
        if "slope" in evidence:
            continue
        for key in ("raise_at", "at"):
            value = evidence.get(key)
            if isinstance(value, int | float) and isfinite(value):
                limits.setdefault(float(value), f"{value:g}")
    return sorted(limits.items())[-4:]


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float

    @classmethod
    def of(cls, line: Line, limits: Sequence[tuple[float, str]]) -> "_Scale":
        values = [*line.low[np.isfinite(line.low)].tolist(), *line.high[np.isfinite(line.high)].tolist()]
        values += [value for value, _ in limits]
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        room = (high - low or 1.0) * 0.06
        return cls(low - room, high + room)

    def y(self, value: float) -> float:
        return TOP + (self.high - value) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)

    def steps(self) -> list[float]:
        rough = (self.high - self.low) / 4
        unit = 10.0 ** floor(log10(rough))
        step = next(unit * nice for nice in (1, 2, 2.5, 5, 10) if unit * nice >= rough)
        first = floor(self.low / step) + 1
        return [step * place for place in range(first, floor(self.high / step) + 1)]


def _x(at_us: int, result: Result) -> float:
    span = result.span
    share = (at_us - span.from_us) / max(span.to_us - span.from_us, 1)
    return LEFT + min(max(share, 0.0), 1.0) * STEPS


def _shades(own: Sequence[Episode], result: Result) -> Iterator[str]:
    for episode in own:
        end_us = result.span.to_us if episode.cleared_us is None else episode.cleared_us
        left, right = _x(episode.raised_us, result), _x(end_us, result)
        words = f"{_said(episode.raised_us)} – {_said(end_us)} {episode.rule_id} {episode.level}"
        if episode.peak is not None:
            words += f", 峰值 peak {episode.peak:g}"
        yield (
            f'<rect x="{left:.1f}" y="{TOP}" width="{max(right - left, 1.5):.1f}" height="{HEIGHT - TOP - BOTTOM}"'
            f' fill="{COLOURS[episode.level]}" fill-opacity="0.28"><title>{escape(words)}</title></rect>'
        )


def _marks(code: str, marked: Sequence[MarkedEvent], result: Result) -> Iterator[str]:
    """A bar at the foot of the chart for each event that people marked."""
    for device, onset_us, end_us, label in marked:
        if device != code or end_us < result.span.from_us or onset_us >= result.span.to_us:
            continue
        left, right = _x(onset_us, result), _x(end_us, result)
        words = escape(f"标注 marked {label} {_said(onset_us)} – {_said(end_us)}")
        yield (
            f'<rect x="{left:.1f}" y="{HEIGHT - BOTTOM - 6}" width="{max(right - left, 2):.1f}" height="6"'
            f' fill="#111"><title>{words}</title></rect>'
        )


def _axis(scale: _Scale, result: Result) -> Iterator[str]:
    for value in scale.steps():
        y = scale.y(value)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="g"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" class="n" text-anchor="end">{value:g}</text>'
    span_s = (result.span.to_us - result.span.from_us) / SECOND_US
    step_s = next((step for step in _STEPS_S if step * 9 >= span_s), _STEPS_S[-1])
    style = "%Y-%m-%d" if step_s >= 86_400 else "%m-%d %H:%M"
    zone = result.ground.zone
    first = instant(result.span.from_us).astimezone(zone)
    at = datetime.fromtimestamp((first.timestamp() // step_s + 1) * step_s, UTC)
    while (at_us := round(at.timestamp() * SECOND_US)) < result.span.to_us:
        x = _x(at_us, result)
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" class="g"/>'
        yield (
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" class="n" text-anchor="middle">'
            f"{at.astimezone(zone):{style}}</text>"
        )
        at += timedelta(seconds=step_s)


def _curve(line: Line, scale: _Scale) -> Iterator[str]:
    """A stroke through the steps; nothing is drawn where nothing came for longer than usual."""
    filled = np.flatnonzero(np.isfinite(line.high))
    if not len(filled):
        return
    usual = np.median(np.diff(filled)) if len(filled) > 1 else 1
    breaks = np.flatnonzero(np.diff(filled) > max(3, 4 * usual)) + 1
    for run in np.split(filled, breaks):
        points = []
        for step in run.tolist():
            low, high = scale.y(float(line.low[step])), scale.y(float(line.high[step]))
            points.append(f"{LEFT + step + 0.5:.1f},{low:.1f}")
            if abs(low - high) >= 0.1:
                points.append(f"{LEFT + step + 0.5:.1f},{high:.1f}")
        if len(points) == 1:
            points *= 2
        yield f'<polyline points="{" ".join(points)}" class="v"/>'


def _limit(value: float, text: str, scale: _Scale) -> str:
    y = scale.y(value)
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="l"/>'
        f'<text x="{WIDTH - RIGHT - 4}" y="{y - 4:.1f}" class="m" text-anchor="end">限值 limit {escape(text)}</text>'
    )


def _said(at_us: int) -> str:
    return f"{instant(at_us):%Y-%m-%d %H:%M:%S}Z"


# ── the file ─────────────────────────────────────────────────────────────────────────────────────────

_STYLE = """
text{font:12px system-ui,"Noto Sans CJK SC","Microsoft YaHei",sans-serif;fill:#333}
.t{font-size:15px;font-weight:600;fill:#111}.n{fill:#666}.m{fill:#a01020}
.g{stroke:#e4e6ea;stroke-width:1}.v{fill:none;stroke:#16324f;stroke-width:1.2;stroke-linejoin:round}
.l{stroke:#a01020;stroke-width:1.2;stroke-dasharray:6 4}
"""


def _svg(body: str, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        f' role="img" aria-label="{escape(title)}"><style>{_STYLE}</style>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>{body}</svg>'
    )


def _page(panels: Sequence[str], rules: Sequence[Rule], result: Result, alarms: int) -> str:
    names = "".join(
        f"<li>{escape(rule.rule_id)} · {escape(rule.name)} · {escape(rule.name_en)}</li>" for rule in rules
    )
    span = f"{_said(result.span.from_us)} – {_said(result.span.to_us)}"
    body = "".join(panels) or "<p>没有设备 · no devices</p>"
    return f"""<!doctype html>
<html lang="zh-CN"><meta charset="utf-8"><title>规则回测 · rule back-test</title>
<style>body{{margin:24px auto;max-width:{WIDTH}px;font:14px system-ui,"Noto Sans CJK SC","Microsoft YaHei",sans-serif;
color:#222}}svg{{display:block;width:100%;height:auto;margin:12px 0;border:1px solid #e4e6ea}}
h1{{font-size:20px}}</style>
<h1>规则回测 · rule back-test</h1>
<ul>{names}</ul>
<p>{escape(span)} · 读数 readings {result.rows:,} · 报警 alarms {alarms}</p>
<p>底色：报警时段；虚线：限值；底部黑条：标注事件。时间为 {escape(str(result.ground.zone))}。 ·
Shaded: alarms; dashed: limits; black bars at the foot: marked events. Times in {escape(str(result.ground.zone))}.</p>
{body}
</html>
"""
