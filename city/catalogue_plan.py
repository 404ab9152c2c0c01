"""What would become of a catalogue: for every row of a sheet whether it is new, changed, the same or refused, and why.

Pure: what is known and what uses it goes in. Nothing is written unless no row is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from city.catalogue import parent_of
from city.catalogue_columns import texts_of
from city.catalogue_reading import CellFault, Line, Reading
from city.units import Category

Fate = Literal["new", "changed", "same", "retired", "refused"]
FATES: tuple[Fate, ...] = ("new", "changed", "same", "retired", "refused")


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What names a category itself, in numbers; what lies below it is counted apart."""

    open_incidents: int = 0
    standing_alarms: int = 0
    rules: int = 0  # in force
    responsibilities: int = 0  # valid now or later
    components: int = 0
    incidents: int = 0  # ever, closed ones too
    alarms: int = 0
    active_below: int = 0

    def words(self) -> tuple[str, str]:
        """What keeps it from going, Chinese and English; both empty when nothing does."""
        named = (
            (self.open_incidents, "起未结事件", "open incidents"),
            (self.standing_alarms, "条未解除报警", "standing alarms"),
            (self.rules, "条启用规则", "rules in force"),
            (self.responsibilities, "条职责清单", "responsibilities"),
            (self.components, "个部件", "components"),
            (self.active_below, "个在用下级类别", "active categories below it"),
        )
        zh = "、".join(f"{number}{what}" for number, what, _ in named if number)
        return zh, ", ".join(f"{number} {what}" for number, _, what in named if number)


UNUSED = Usage()


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFate:
    """``row`` 0 = in no row. ``changes`` are columns with what stands there now and what would."""

    row: int
    code: str
    fate: Fate
    changes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    faults: Sequence[CellFault] = ()
    note: str = ""
    note_en: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """``header_faults`` stop everything; ``write`` are the categories as they would be."""

    rows: Sequence[RowFate]
    write: Sequence[Category]
    header_faults: Sequence[CellFault] = ()

    @property
    def refused(self) -> bool:
        """Whether anything is wrong, so that nothing is written."""
        return bool(self.header_faults) or any(row.fate == "refused" for row in self.rows)

    def counts(self) -> dict[str, int]:
        """Rows by fate, every fate named."""
        return {fate: sum(row.fate == fate for row in self.rows) for fate in FATES}


def plan(
    reading: Reading, known: Mapping[str, Category], usage: Mapping[str, Usage], *, whole: bool = False
) -> Plan:
    """The fate of every row. ``whole``: the sheet is the whole catalogue, what it leaves out is retired."""
    if reading.header_faults:
        return Plan(rows=(), write=(), header_faults=reading.header_faults)
    after = dict(known) | {line.category.code: line.category for line in reading.lines}
    gone: list[Category] = []
    if whole:
        named = {line.category.code for line in reading.lines}
        gone = [one for one in known.values() if one.active and one.code not in named]
        after |= {one.code: _retired(one) for one in gone}
    alive_below = _alive_below(after)
    rows, write = [], []
    for line in reading.lines:
        faults = (*line.faults, *_misplaced(line, after, known))
        if line.category.code in known and not line.category.active and known[line.category.code].active:
            faults += _held(line.row, line.category, usage, alive_below)
        fate = _fate(line, known.get(line.category.code), faults)
        rows.append(fate)
        if fate.fate in ("new", "changed"):
            write.append(line.category)
    for category in gone:
        held = _held(0, category, usage, alive_below)
        zh, en = usage.get(category.code, UNUSED).words()
        rows.append(
            RowFate(
                row=0,
                code=category.code,
                fate="refused" if held else "retired",
                changes={"active": ("1", "0")},
                faults=held,
                note=f"仍有{zh}使用" if zh and not held else "",
                note_en=f"still named by {en}" if en and not held else "",
            )
        )
        write.append(after[category.code])
    return Plan(rows=rows, write=write)


def _retired(category: Category) -> Category:
    return replace(category, active=False)


def _alive_below(after: Mapping[str, Category]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for category in after.values():
        above = parent_of(category.code)
        while above and category.active:
            counts[above] = counts.get(above, 0) + 1
            above = parent_of(above)
    return counts


def _misplaced(
    line: Line, after: Mapping[str, Category], known: Mapping[str, Category]
) -> tuple[CellFault, ...]:
    above = parent_of(line.category.code)
    if above is None or line.faults or (above not in after and line.category.code in known):
        return ()  # what stands there without a parent from of old may be edited all the same
    if above not in after:
        return (
            CellFault(
                row=line.row,
                column="parent",
                value=above,
                remedy_zh=f"没有上级类别“{above}”，请补上这一行或更正编码",
                remedy=f"there is no category {above!r}; add its row or correct the code",
            ),
        )
    if line.category.active and not after[above].active:
        return (
            CellFault(
                row=line.row,
                column="active",
                value="1",
                remedy_zh=f"上级类别“{above}”已停用，请先启用上级或停用本类别",
                remedy=f"the category above, {above!r}, is retired; make that active first, or this not",
            ),
        )
    return ()


def _held(
    row: int, category: Category, usage: Mapping[str, Usage], alive_below: Mapping[str, int]
) -> tuple[CellFault, ...]:
    """A rule in force goes on raising, and a category below goes on being chosen: those go first."""
    used = usage.get(category.code, UNUSED)
    below = alive_below.get(category.code, 0)
    if not used.rules and not below:
        return ()
    zh, en = Usage(rules=used.rules, active_below=below).words()
    return (
        CellFault(
            row=row,
            column="active",
            value="0",
            remedy_zh=f"“{category.code}”仍有{zh}，请先停用它们，或保留此类别",
            remedy=f"{category.code!r} still has {en}; retire those first, or keep it active",
        ),
    )


def _fate(line: Line, now: Category | None, faults: tuple[CellFault, ...]) -> RowFate:
    changes: dict[str, tuple[str, str]] = {}
    if now is not None:
        before, after = texts_of(now), texts_of(line.category)
        changes = {
            column: (before[column], after[column]) for column in before if before[column] != after[column]
        }
    fate: Fate = "refused" if faults else "new" if now is None else "changed" if changes else "same"
    return RowFate(
        row=line.row,
        code=line.category.code,
        fate=fate,
        changes={} if faults else changes,
        faults=faults,
        note=line.note,
        note_en=line.note_en,
    )
