"""Changes of the catalogue: a sheet taken in whole or not at all, a category retired, an unused one removed."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from psycopg import Connection

from city import catalogue_plan, catalogue_reading
from city.catalogue_columns import written
from city.catalogue_plan import UNUSED, Plan, Usage
from city.catalogue_sheet import read_sheet
from city.errors import CityError
from city.storage import categories
from city.storage.database import nudge
from city.units import Category


class CatalogueError(CityError):
    """A change that is not possible now. ``usage`` says what names the category, where that is why."""

    def __init__(
        self, code: Literal["not_found", "in_use", "stale"], zh: str, en: str, usage: Usage | None = None
    ) -> None:
        super().__init__(en)
        self.code = code
        self.reason_zh = zh
        self.usage = usage


@dataclass(frozen=True, kw_only=True, slots=True)
class TakenIn:
    """What an import did, or would do; ``written`` categories changed in the database."""

    plan: Plan
    dry_run: bool
    written: int
    tag: str


def take_in(
    connection: Connection[Any],
    content: bytes,
    name: str,
    *,
    actor: str,
    reason: str,
    dry_run: bool,
    whole: bool = False,
    expected: str | None = None,
) -> TakenIn:
    """Read a sheet and write it, all rows or none; with ``dry_run`` or a refused row nothing is written.

    ``expected`` is the tag of the catalogue that the sheet was made from. Raises SheetError, CatalogueError "stale".
    """
    table = read_sheet(content, name)
    categories.lock(connection)
    known = categories.load_categories(connection)
    if expected is not None and expected != tag(known):
        zh, en = (
            "目录已被他人修改，请重新导出后再导入",
            "the catalogue was changed meanwhile; export it again",
        )
        raise CatalogueError("stale", zh, en)
    reading = catalogue_reading.read(table, known)
    plan = catalogue_plan.plan(reading, known, _usage(connection, reading, known, whole=whole), whole=whole)
    if dry_run or plan.refused:
        return TakenIn(plan=plan, dry_run=dry_run, written=0, tag=tag(known))
    changed = categories.upsert_categories(connection, plan.write, overwrite=True, origin="catalogue")
    if changed:
        detail = {"file": name, "whole": whole, **plan.counts()}
        categories.record(
            connection,
            actor=actor,
            action="catalogue.imported",
            code="catalogue",
            reason=reason,
            detail=detail,
        )
        for category in plan.write:
            if category.code in known and known[category.code].active and not category.active:
                _record_retired(connection, actor, category.code, reason)
        nudge(connection)
    return TakenIn(plan=plan, dry_run=False, written=changed, tag=tag(categories.load_categories(connection)))


def _usage(
    connection: Connection[Any],
    reading: catalogue_reading.Reading,
    known: Mapping[str, Category],
    *,
    whole: bool,
) -> Mapping[str, Usage]:
    """Of those that would be retired only."""
    active = {code for code, category in known.items() if category.active}
    retired = {line.category.code for line in reading.lines if not line.category.active} & active
    if whole:
        retired |= active - {line.category.code for line in reading.lines}
    return categories.usage(connection, retired) if retired else {}


def tag(known: Mapping[str, Category]) -> str:
    """Changes with anything in the catalogue."""
    text = written(known[code] for code in sorted(known))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def retire(connection: Connection[Any], code: str, *, actor: str, reason: str) -> Usage:
    """Take a category out of every choice and say what still names it.

    Raises CatalogueError while a rule in force raises for it or categories below it are active.
    """
    known, used = _locked(connection, code)
    if used.rules or used.active_below:
        zh, en = Usage(rules=used.rules, active_below=used.active_below).words()
        raise CatalogueError(
            "in_use",
            f"类别“{code}”仍有{zh}，请先停用它们",
            f"category {code!r} still has {en}; retire those first",
            used,
        )
    if known.active:
        categories.retire(connection, code)
        _record_retired(connection, actor, code, reason)
        nudge(connection)
    return used


def remove(
    connection: Connection[Any], code: str, *, actor: str, reason: str
) -> Literal["deleted", "retired"]:
    """Delete a category that nothing ever named; one that came with the product is retired, or it would come back.

    Raises CatalogueError with the counts while, or once, something names it.
    """
    _, used = _locked(connection, code, ever=True)
    if used != UNUSED:
        zh, en = _held(used)
        raise CatalogueError(
            "in_use",
            f"类别“{code}”有{zh}，不能删除；可改为停用：POST /api/categories/{code}/retire",
            f"category {code!r} has {en} and cannot be removed; retire it instead: "
            f"POST /api/categories/{code}/retire",
            used,
        )
    if categories.origins(connection)[code] == "built-in":
        retire(connection, code, actor=actor, reason=reason)
        return "retired"
    categories.delete(connection, code)
    categories.record(
        connection, actor=actor, action="category.deleted", code=f"category:{code}", reason=reason, detail={}
    )
    nudge(connection)
    return "deleted"


def _held(used: Usage) -> tuple[str, str]:
    zh, en = used.words()
    if zh:
        return zh, en
    return (
        f"{used.incidents}起已结事件、{used.alarms}条历史报警",
        f"{used.incidents} incidents and {used.alarms} alarms in the past",
    )


def _locked(connection: Connection[Any], code: str, *, ever: bool = False) -> tuple[Category, Usage]:
    categories.lock(connection)
    known = categories.get(connection, code)
    if known is None:
        raise CatalogueError("not_found", f"没有类别“{code}”", f"there is no category {code!r}")
    return known, categories.usage(connection, [code], ever=ever)[code]


def _record_retired(connection: Connection[Any], actor: str, code: str, reason: str) -> None:
    categories.record(
        connection, actor=actor, action="category.retired", code=f"category:{code}", reason=reason, detail={}
    )
