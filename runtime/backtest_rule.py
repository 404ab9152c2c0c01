"""``city backtest rule``: what rules would have raised on recorded observations, before anybody is paged by them."""
# ruff: noqa: PLC0415 - as in runtime.cli: `city --help` must not wait for numpy

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from city import settings
from city.errors import CityError

if TYPE_CHECKING:
    from command_centre.backtest_report import MarkedEvent
    from command_centre.rule_backtest import Progress as Told
    from command_centre.rule_backtest import Result, Source
    from rules.rule import Rule

DAYS_WITHOUT_FROM = 30
LEVELS = ("warning", "guaranteed", "highest")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Listening(Enum):
    """When devices could be heard."""

    RECORDED = "recorded"
    ALWAYS = "always"


# As long as it has options.
def rule(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="A rule file (TOML).")] = None,
    rule_id: Annotated[
        list[str] | None, typer.Option("--rule", help="ID or ID@VERSION of the database, instead of a file.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Begin, RFC 3339; no offset means UTC. Default: 30 days.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="End, excluded. Default: now.")] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="Code, once for each device; default: all.")
    ] = None,
    levels: Annotated[
        list[Path] | None,
        typer.Option("--levels", "--series", metavar="CSV", help="Recorded series instead of the database."),
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Kind of the devices in the series.")] = None,
    station_level: Annotated[
        list[str] | None, typer.Option(metavar="NAME=M", help="warning, guaranteed, highest of the series.")
    ] = None,
    marks: Annotated[
        Path | None, typer.Option(metavar="CSV", help="device,onset,end[,label]: what really happened.")
    ] = None,
    before: Annotated[float, typer.Option(help="Hours ahead of an onset that count for it.", min=0)] = 6,
    late_after: Annotated[float, typer.Option(help="Minutes after an onset that count as late.", min=0)] = 5,
    against_active: Annotated[
        bool, typer.Option("--against-active", help="Say what is gained and lost against the rules in force.")
    ] = False,
    as_observed: Annotated[
        bool, typer.Option("--as-observed", help="As if nothing had arrived late: for imported history.")
    ] = False,
    listening: Annotated[
        Listening, typer.Option(help="Count silence in the time recorded as listened, or all the time.")
    ] = Listening.RECORDED,
    tick: Annotated[
        float | None, typer.Option(help="Seconds to which silence is exact; default 1.", min=1)
    ] = None,
    chart: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write charts: .html, or .svg of the first device.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for scripts.")] = False,
) -> None:
    """规则 · Replay recorded observations through rules: episodes, hits, misses, false alarms."""
    from command_centre import backtest_report, rule_backtest

    with _opened(
        levels,
        kind=kind,
        devices=device,
        station_levels=station_level,
        as_observed=as_observed,
        always=listening is Listening.ALWAYS,
        database=bool(rule_id) or against_active,
    ) as (source, url):
        sets = _rule_sets(file, rule_id or [], url, against_active=against_active)
        span = rule_backtest.span_of(sets[0], *_span(source, start, end))
        marked = None if marks is None else read_marks(marks)
        with _progress(as_json) as told:
            result = rule_backtest.run(source, sets, span, tick_s=tick, progress=told)
        report = backtest_report.report(
            result,
            sets[0],
            marked=marked,
            before_us=round(before * 3_600_000_000),
            late_after_us=round(late_after * 60_000_000),
        )
        if chart is not None:
            _draw(chart, result, sets[0], source, marked)
    if as_json:
        print(json.dumps(report, ensure_ascii=False))  # noqa: T201 - a script reads this
    else:
        _print(report, chart)


# ── what is asked for ────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _opened(
    levels: Sequence[Path] | None,
    *,
    kind: str | None,
    devices: Sequence[str] | None,
    station_levels: Sequence[str] | None,
    as_observed: bool,
    always: bool,
    database: bool,
) -> "Iterator[tuple[Source, str | None]]":
    """The source of observations, and the database's address where there is one."""
    from command_centre.rule_backtest import Stored
    from runtime import connections

    if levels:
        if database:
            raise CityError(
                "--levels beside --rule or --against-active: those need a database; give a FILE only"
            )
        from runtime import simulators_there

        with simulators_there.asked("a back-test of files (one of stored readings does not)"):
            from runtime.backtest_series import Series

        yield Series(levels, kind=kind, devices=devices, levels=_station_levels(station_levels)), None
        return
    for option, given in (("--station-level", station_levels), ("--kind", kind)):
        if given:
            raise CityError(f"{option} = {given}: is of a recorded series; give --levels CSV too")
    with connections.database(settings.load()) as url:
        stored = Stored(url, devices=devices, as_observed=as_observed, listened_always=always)
        yield stored, url


def _station_levels(given: Sequence[str] | None) -> dict[str, float]:
    levels: dict[str, float] = {}
    for one in given or ():
        name, _, text = one.partition("=")
        try:
            levels[name] = float(text)
        except ValueError:
            name = ""
        if name not in LEVELS:
            raise CityError(
                f"--station-level = {one}: write one of {', '.join(LEVELS)} and metres, as warning=6.0"
            )
    return levels


def _rule_sets(
    file: Path | None, ids: Sequence[str], url: str | None, *, against_active: bool
) -> "list[list[Rule]]":
    """The rules asked about, and those in force under the same ids where these are wanted."""
    from city.storage.database import connect
    from rules.definitions import from_row, parse

    if (file is None) == (not ids):
        raise CityError("give either a rule FILE or --rule ID of the database")
    chosen: list[Rule] = []
    if file is not None:
        try:
            chosen = parse(file.read_text("utf-8"), str(file))
        except (OSError, UnicodeDecodeError) as error:
            raise CityError(f"{file}: cannot be read ({error})") from error
    if url is None:
        return [chosen]
    with connect(url, application="city back-test", autocommit=True) as connection:
        from command_centre.backtest_rules import active_rows, version_row

        chosen = chosen or [from_row(*version_row(connection, one)) for one in ids]
        if not against_active:
            return [chosen]
        return [chosen, [from_row(*row) for row in active_rows(connection, [one.rule_id for one in chosen])]]


def _span(source: "Source", start: str | None, end: str | None) -> tuple[int, int]:
    whole: tuple[int, int] | None = getattr(source, "span", lambda: None)()
    now = datetime.now(UTC)
    to_us = _moment("--to", end) if end else whole[1] if whole else _us(now)
    if start:
        return _moment("--from", start), to_us
    return (whole[0] if whole else to_us - _us(_EPOCH + timedelta(days=DAYS_WITHOUT_FROM))), to_us


def _moment(field: str, text: str) -> int:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise CityError(f"{field} = {text}: write a time as 2013-07-15T12:50:00Z, or a date") from None
    return _us(when if when.tzinfo else when.replace(tzinfo=UTC))


def _us(when: datetime) -> int:
    return (when - _EPOCH) // timedelta(microseconds=1)


def read_marks(path: Path) -> "list[MarkedEvent]":
    """Events of a CSV file: device, onset, end and maybe label. Raises CityError naming line, column and value."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            missing = {"device", "onset", "end"} - set(reader.fieldnames or ())
            if missing:
                raise CityError(
                    f"{path}: column {', '.join(sorted(missing))} is missing; write device,onset,end,label"
                )
            return [_mark(path, reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CityError(f"{path}: cannot be read ({error})") from error


def _mark(path: Path, line: int, row: Mapping[str, str]) -> "MarkedEvent":
    onset, end = (_moment(f"{path} line {line}: {name}", row[name].strip()) for name in ("onset", "end"))
    if end < onset:
        raise CityError(
            f"{path} line {line}: end = {row['end']}: lies before onset {row['onset']}; exchange them"
        )
    if not row["device"].strip():
        raise CityError(f"{path} line {line}: device is empty; write its code")
    return row["device"].strip(), onset, end, row.get("label", "").strip()


# ── what a person sees ───────────────────────────────────────────────────────────────────────────────


@contextmanager
def _progress(as_json: bool) -> "Iterator[Told]":
    quiet = as_json or not sys.stderr.isatty()
    bar = Progress(
        TextColumn("回放 replay"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("条 readings"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=quiet,
    )
    with bar:
        task = bar.add_task("", total=None)
        yield lambda done, expected: bar.update(task, completed=done, total=expected)


def _print(report: dict[str, Any], chart: Path | None) -> None:
    console = Console()
    totals = report["totals"]
    names = ", ".join(f"{rule['id']} {rule['name']} {rule['name_en']}" for rule in report["rules"])
    lines = [
        names,
        f"{report['from']} – {report['to']}: {report['readings']:,} 条 readings, {report['seconds']:.1f} s,"
        f" {report['readings_per_s'] or 0:,}/s",
        f"报警 alarms {totals['episodes']} ({totals['per_day']:.2f}/日 day), 设备 devices {totals['devices']},"
        f" 报警时长 in alarm {_hours(totals['in_alarm_s'])}, 最长 longest {_hours(totals['longest_s'])},"
        f" 重复 repeats {totals['repeats']}, 迟到 late {totals['late']}, 未解除 standing {totals['standing']}",
    ]
    if report["marks"] is not None:
        lines.append(_marks_line(report["marks"]))
    if report["difference"] is not None:
        change = report["difference"]
        lines.append(
            f"对比现行 against those in force: 保留 kept {change['kept']}, 新增 gained {change['gained']},"
            f" 减少 lost {change['lost']}"
        )
    console.print("\n".join(lines), highlight=False, soft_wrap=True)
    _table(console, report)
    for note in report["notes"]:
        console.print(f"· {note['zh']} · {note['en']}", highlight=False, soft_wrap=True)
    if chart is not None:
        console.print(f"图 chart: {chart}", highlight=False, soft_wrap=True)


def _marks_line(marks: Mapping[str, Any]) -> str:
    lead = "–" if marks["median_lead_min"] is None else f"{marks['median_lead_min']:.0f} min"
    return (
        f"标注 marked {marks['events']}: 命中 hits {marks['hits']}, 漏报 missed {marks['missed']},"
        f" 误报 false {marks['false']}, 迟 late {marks['late']}, POD {_share(marks['pod'])},"
        f" FAR {_share(marks['far'])}, 提前 median lead {lead}"
    )


def _table(console: Console, report: Mapping[str, Any]) -> None:
    table = Table("设备\ndevice", box=None)
    names = ("读数\nreadings", "报警\nalarms", "时长\nin alarm", "最长\nlongest", "峰值\npeak", "命中\nhits")
    for name in (*names, "漏报\nmissed", "误报\nfalse"):
        table.add_column(name, justify="right")
    for line in report["devices"][:40]:
        marked = [
            str(line[key]) if report["marks"] is not None else "" for key in ("hits", "missed", "false")
        ]
        peak = "" if line["peak"] is None else f"{line['peak']:g}"
        figures = [f"{line['readings']:,}", str(line["episodes"])]
        spans = [_hours(line["in_alarm_s"]), _hours(line["longest_s"])]
        table.add_row(line["device"], *figures, *spans, peak, *marked)
    console.print(table)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _draw(
    chart: Path,
    result: "Result",
    rules: "Sequence[Rule]",
    source: "Source",
    marked: "Sequence[MarkedEvent] | None",
) -> None:
    from runtime import backtest_chart

    try:
        backtest_chart.write(chart, result, rules, source, marked or ())
    except OSError as error:
        raise CityError(f"--chart = {chart}: cannot be written ({error})") from error
