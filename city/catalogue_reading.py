"""A catalogue as people write it: the cells of a sheet go in, categories and faults come out.

Pure. Columns are named in English or Chinese, so are the few words that may stand in them. Every fault names row,
column, value and remedy in both languages; the other rows are read all the same.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

from city import catalogue
from city.catalogue_columns import (
    ACTIVE,
    AUTOMATIC,
    CLASSES,
    CLOCKS,
    COLUMNS,
    LEVELS,
    NATURES,
    REQUIRED,
    THREE,
    texts_of,
)
from city.clocks import Limit, LimitError, Limits, read_limits
from city.units import Category, Clock, IncidentClass

MOST_ROWS = 20_000
LONGEST_TEXT = 200  # characters of a name, a code or a list of limits
CODE = re.compile(r"[a-z0-9_]{1,40}(\.[a-z0-9_]{1,40})*")
_WHOLE = re.compile(r"[0-9]{1,9}")
_PLAN = re.compile(r"[A-Za-z0-9_.-]{0,64}")
_MOST_MINUTES = 5 * 366 * 1440

_NOTHING: Mapping[str, Category] = {}
Word = TypeVar("Word")


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A sheet's cells as texts; ``rows`` are (its row number as people count, cells). ``name`` is for people."""

    name: str
    header: Sequence[str]
    rows: Sequence[tuple[int, Sequence[str]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class CellFault:
    """What is wrong in one cell; ``value`` None where a whole row or column is meant."""

    row: int
    column: str
    value: str | None
    remedy_zh: str
    remedy: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A row as read. ``note`` is what a person should look at, though nothing is wrong."""

    row: int
    category: Category
    faults: tuple[CellFault, ...] = ()
    note: str = ""
    note_en: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """A whole sheet. With faults in the header there are no lines."""

    lines: Sequence[Line]
    header_faults: tuple[CellFault, ...] = ()


def read(table: Table, known: Mapping[str, Category] = _NOTHING) -> Reading:
    """Every row of a sheet as a category with its own faults; duplicates and places in the tree included.

    Columns that the sheet does not have stay as ``known`` says; an empty cell means the column's default.
    """
    columns, faults = _columns(table.header)
    if faults:
        return Reading(lines=(), header_faults=tuple(faults))
    lines, first = [], dict[str, int]()
    for number, cells in table.rows:
        written = dict(zip(columns, cells, strict=False))
        code = written.get("code", "").strip()
        if code in known:
            written = texts_of(known[code]) | dict.fromkeys(columns, "") | written
        row = _Row(number, written)
        if any(cells[len(columns) :]):
            zh, en = (
                "此行的单元格多于列数，含逗号的文字请加引号",
                "more cells than columns; put texts with a comma into quotes",
            )
            row.fault("", zh, en)
        if code and first.setdefault(code, number) != number:
            row.fault(
                "code",
                f"第{first[code]}行已有此编码，请只留一行",
                f"row {first[code]} has it already; keep one",
            )
        lines.append(_line(row))
    return Reading(lines=lines)


def _columns(header: Sequence[str]) -> tuple[list[str], list[CellFault]]:
    by_heading = {heading: column for column, headings in COLUMNS.items() for heading in (column, *headings)}
    columns, faults = [], []
    for heading in header:
        column = by_heading.get(heading.strip().lower())
        if column is None:
            zh, en = (
                f"未知的列，可用：{'、'.join(names[0] for names in COLUMNS.values())}",
                ", ".join(COLUMNS),
            )
            faults.append(_header_fault(heading, zh, f"unknown column; known are {en}"))
        elif column in columns:
            faults.append(
                _header_fault(heading, "此列重复，请只留一列", "this column stands there twice; keep one")
            )
        columns.append(column or heading)
    for column in REQUIRED:
        if column not in columns:
            zh = f"缺少列“{COLUMNS[column][0]}”，请补上"
            faults.append(_header_fault(column, zh, f"column {column!r} is missing; add it to the header"))
    return columns, faults


def _header_fault(heading: str, remedy_zh: str, remedy: str) -> CellFault:
    return CellFault(row=1, column=heading[:LONGEST_TEXT], value=None, remedy_zh=remedy_zh, remedy=remedy)


class _Row:
    """One row; readers note a fault for a wrong cell and answer what stands for it."""

    def __init__(self, number: int, cells: Mapping[str, str]) -> None:
        self.number = number
        self.faults: list[CellFault] = []
        self._cells = cells

    def text(self, column: str) -> str:
        return self._cells.get(column, "").strip()

    def fault(self, column: str, remedy_zh: str, remedy: str) -> None:
        value = self.text(column)[:LONGEST_TEXT]
        self.faults.append(
            CellFault(row=self.number, column=column, value=value, remedy_zh=remedy_zh, remedy=remedy)
        )

    def word(self, column: str, words: Mapping[str, Word]) -> Word | None:
        """One of a few words, in either language; None for an empty cell."""
        text = self.text(column)
        if not text:
            return None
        found = words.get(text, words.get(text.lower()))
        if found is None:
            listed = "、".join(words)
            self.fault(column, f"请填写以下之一：{listed}", f"write one of {', '.join(words)}")
        return found

    def line_of(self, column: str, *, required: bool = False) -> str:
        """A text on one line."""
        text = self.text(column)
        if (required and not text) or len(text) > LONGEST_TEXT or not text.isprintable():
            zh = f"请填写，最多{LONGEST_TEXT}字，不含控制字符"
            self.fault(column, zh, f"fill it in, with at most {LONGEST_TEXT} characters on one line")
        return text

    def minutes(self, column: str) -> int | None:
        text = self.text(column)
        if not text:
            return None
        if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= _MOST_MINUTES:
            self.fault(column, "请填写大于0的整数分钟", "write a whole number of minutes from 1 on")
            return None
        return int(text)

    def parsed(self, column: str, reader: Any, empty: Any) -> Any:
        """What ``reader`` makes of the cell; its LimitError becomes a fault."""
        try:
            return reader(self.text(column))
        except LimitError as error:
            zh = "请按“handle=3wd;acknowledge=15m”的形式填写，单位 m、h、d、wm、wh、wd"
            if column == "class_limits":
                zh = "请按“A=30m;B=4wh;C=3wd”的形式填写，单位 m、h、d、wm、wh、wd"
            self.fault(column, zh, str(error))
            return empty


def _line(row: _Row) -> Line:
    code = _code(row)
    nature = row.word("nature", NATURES) or "alarm"
    importance, urgency = row.word("importance", THREE), row.word("urgency", THREE)
    incident_class, note, note_en = _class(row, importance, urgency)
    limits: Limits = row.parsed("limits", read_limits, {})
    class_limits: Mapping[IncidentClass, str] = row.parsed("class_limits", catalogue.read_class_limits, {})
    limit = catalogue.handling_limit(nature, incident_class, limits, class_limits)
    told = "handle" in limits
    if not (row.text("limit_minutes") or told or incident_class in class_limits or row.text("nature")):
        zh = "请填写，或在“阶段时限”中写 handle=…"
        row.fault("limit_minutes", zh, "fill it in, or write handle=… among the limits")
    limit_minutes, clock = _old_form(row, limit, told=told)
    if not _PLAN.fullmatch(row.text("plan")):
        row.fault(
            "plan", "请填写预案编码：字母、数字和 _ . -", "write the plan's code: letters, digits and _ . -"
        )
    active = row.word("active", ACTIVE)
    category = Category(
        code=code,
        parent=catalogue.parent_of(code),
        name=row.line_of("name", required=True),
        name_en=row.line_of("name_en"),
        incident_class=incident_class,
        limit_minutes=limit_minutes,
        clock=clock,
        nature=nature,
        importance=cast("Literal[1, 2, 3] | None", importance),
        urgency=cast("Literal[1, 2, 3] | None", urgency),
        event_level=cast("Literal[1, 2, 3, 4]", row.word("event_level", LEVELS) or 4),
        limits=limits,
        class_limits=class_limits,
        plan=row.text("plan"),
        automatic=row.word("automatic", AUTOMATIC) or "alarms",
        active=active is not False,
    )
    return Line(row=row.number, category=category, faults=tuple(row.faults), note=note, note_en=note_en)


def _code(row: _Row) -> str:
    code = row.text("code")
    if len(code) > LONGEST_TEXT or not CODE.fullmatch(code):
        row.fault(
            "code",
            "请用小写字母、数字和 _，层级之间用点，如 fire.smoke",
            "use small letters, digits and _ , with dots between the levels, such as fire.smoke",
        )
        return code[:LONGEST_TEXT]
    if catalogue.level_of(code) > catalogue.MOST_LEVELS:
        zh, en = "目录最多三级，请并入上一级", "the catalogue has three levels; put it one level higher"
        row.fault("code", zh, en)
    above, parent = catalogue.parent_of(code) or "", row.text("parent")
    if parent and parent != above:
        circle = parent == code or parent.startswith(f"{code}.")
        zh = "类别位于自身之下" if circle else "与编码的上级不一致"
        en = "a category lies below itself" if circle else "is not where the code says"
        row.fault(
            "parent",
            f"{zh}，应为“{above}”" if above else f"{zh}，顶级类别请留空",
            f"{en}; write {above!r}" if above else f"{en}; leave it empty for a top level",
        )
    return code


def _class(row: _Row, importance: int | None, urgency: int | None) -> tuple[IncidentClass, str, str]:
    """The class given, else the matrix's; a given one that differs is the office's own decision, and noted."""
    given = row.word("class", CLASSES)
    if importance is None or urgency is None:
        if given is None and not row.text("class"):
            zh = "请填写等级，或同时填写重要程度和紧急程度"
            row.fault("class", zh, "fill it in, or give both importance and urgency")
        return given or "C", "", ""
    computed = catalogue.class_of_matrix(importance, urgency)
    if given is None or given == computed:
        return computed, "", ""
    return (
        given,
        f"等级{given}为手工指定，按重要和紧急程度应为{computed}",
        f"class {given} is given; importance and urgency make {computed}",
    )


def _old_form(row: _Row, limit: Limit, *, told: bool) -> tuple[int, Clock]:
    """limit_minutes and clock: as written, else those of the limit to handle, which wins where it is told."""
    minutes, clock = row.minutes("limit_minutes"), row.word("clock", CLOCKS)
    if minutes is not None and not told:
        return minutes, clock or "natural"
    return catalogue.minutes_of(limit), "natural" if limit.unit == "natural" else "working"
