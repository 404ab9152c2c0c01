"""Changing the rule set: written as a draft, checked against the district, put in force, taken back.

The API and the command line both come through here, so that a rule file and a form meet the same checks. Each
function works inside the caller's transaction and holds the rule set's lock until that ends; what is refused
raises, and nothing of it stays. Ingest follows by itself within a second or two.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from psycopg import Connection

from city.district import BUILT_IN
from city.errors import CityError
from city.storage import rule_facts, rules
from city.storage.rules import RuleVersion
from rules.checks import check
from rules.definitions import from_row, to_rows
from rules.facts import Facts, Ground, KindFact, MetricFact
from rules.keys import RuleError
from rules.problems import Problem
from rules.rule import Rule
from rules.writing import rule_to_toml, to_toml

Db = Connection[Any]
Code = Literal["not_found", "conflict", "stale", "precondition", "invalid", "problems"]
Change = Literal["new", "changed", "unchanged", "retired"]


class RuleChangeError(CityError):
    """A change that is refused, in both languages. ``problems`` when the checks refused it."""

    def __init__(self, code: Code, reason: str, reason_zh: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.reason_zh = reason_zh
        self.problems = tuple(problems)


@dataclass(frozen=True, kw_only=True, slots=True)
class Changed:
    """What became of one rule; ``before`` is the version that was in force."""

    change: Change
    rule_id: str
    version: int | None
    before: int | None
    state: str
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyDiff:
    """One key of a definition in two versions; None = not there."""

    key: str
    before: object
    after: object


# ── one rule ─────────────────────────────────────────────────────────────────────────────────────────


def draft(
    connection: Db,
    rule_id: str,
    definition: Mapping[str, object],
    *,
    actor: str,
    reason: str,
    expected: int | None,
    now: datetime,
) -> Changed:
    """A new version, not in force. ``expected`` is the version it was edited from: None only for a new rule."""
    rules.lock(connection)
    current = rules.current(connection, rule_id)
    _expect(rule_id, current, expected)
    checked = _checked(rule_id, definition)
    in_force = current if current is not None and current.state == "active" else None
    before = in_force.version if in_force else None
    if in_force is not None and in_force.definition == checked:
        return Changed(
            change="unchanged", rule_id=rule_id, version=before, before=before, state="active", problems=()
        )
    written = _write(connection, rule_id, checked, current, actor=actor, reason=reason)
    return Changed(
        change="changed" if current else "new",
        rule_id=rule_id,
        version=written.version,
        before=before,
        state=written.state,
        problems=tuple(problems_of(connection, [(written.rule_id, written.definition)], now=now)),
    )


def put_in_force(
    connection: Db,
    rule_id: str,
    number: int,
    *,
    action: Literal["activate", "rollback"],
    actor: str,
    reason: str,
    accept_warnings: bool,
    now: datetime,
) -> Changed:
    """Put a version in force after checking it again; a rollback is for one that was in force before."""
    rules.lock(connection)
    version = rules.version(connection, rule_id, number)
    if version is None:
        raise _no_version(rule_id, number)
    if action == "rollback" and version.state == "draft":
        raise RuleChangeError(
            "conflict",
            f"version {number} of {rule_id} was never in force; activate it instead",
            f"规则 {rule_id} 的版本 {number} 从未启用过，请使用启用而不是回退",
        )
    current = rules.current(connection, rule_id)
    in_force = current if current is not None and current.state == "active" else None
    if in_force is not None and in_force.version == number:
        return Changed(change="unchanged", rule_id=rule_id, version=number, before=number, state="active")
    problems = problems_of(connection, [(rule_id, version.definition)], now=now)
    if action == "activate" and in_force is not None and version.based_on not in (None, in_force.version):
        problems.append(_stale_base(version, in_force))
    _refuse(problems, accept_warnings=accept_warnings)
    before = rules.put_in_force(connection, rule_id, number, action=action, actor=actor, reason=reason)
    detail = {"from": before, "to": number, "warnings": len(problems)}
    rules.audit(connection, f"rule.{action}", rule_id, actor=actor, reason=reason, detail=detail)
    return Changed(
        change="changed",
        rule_id=rule_id,
        version=number,
        before=before,
        state="active",
        problems=tuple(problems),
    )


def retire(connection: Db, rule_id: str, *, actor: str, reason: str) -> Changed:
    """Put a rule out of force; its open alarms end at ingest's next tick and say why."""
    rules.lock(connection)
    current = rules.current(connection, rule_id)
    if current is None:
        raise _no_rule(rule_id)
    if current.state != "active":
        raise RuleChangeError(
            "conflict",
            f"{rule_id} is not in force; there is nothing to retire",
            f"规则 {rule_id} 未启用，无需停用",
        )
    rules.put_in_force(connection, rule_id, None, action="retire", actor=actor, reason=reason)
    detail = {"from": current.version}
    rules.audit(connection, "rule.retire", rule_id, actor=actor, reason=reason, detail=detail)
    return Changed(change="retired", rule_id=rule_id, version=None, before=current.version, state="retired")


def check_expected(connection: Db, rule_id: str, expected: int | None) -> None:
    """Refuse when the rule has moved on since the caller looked; None asks nothing."""
    if expected is not None:
        rules.lock(connection)
        _expect(rule_id, rules.current(connection, rule_id), expected)


# ── the whole set as a file ──────────────────────────────────────────────────────────────────────────


def export_set(connection: Db) -> str:
    """The rules in force as one rule file."""
    return to_toml((rule.rule_id, rule.definition) for rule in rules.active(connection))


def import_set(
    connection: Db,
    text: str,
    source: str,
    *,
    actor: str,
    reason: str,
    activate: bool,
    replace_all: bool,
    accept_warnings: bool,
    now: datetime,
) -> tuple[list[Changed], list[Problem]]:
    """Take in a rule file, all of it or nothing: drafts, or with ``activate`` in force.

    Rules that the file does not name stay as they are, unless ``replace_all`` retires them. Raises RuleError,
    and RuleChangeError when it should come into force and the checks refuse it.
    """
    rules.lock(connection)
    rows = to_rows(text, source)
    in_force = {rule.rule_id: rule for rule in rules.active(connection)}
    differing = [row for row in rows if row[0] not in in_force or in_force[row[0]].definition != row[1]]
    gone = sorted(in_force.keys() - {row[0] for row in rows}) if replace_all and activate else []
    problems = problems_of(connection, differing, without=gone, now=now)
    if activate:
        _refuse(problems, accept_warnings=accept_warnings)
    taken = [
        _take(connection, row, in_force, differing, activate=activate, actor=actor, reason=reason)
        for row in rows
    ]
    taken += [retire(connection, rule_id, actor=actor, reason=reason) for rule_id in gone]
    return [replace(one, problems=_of(problems, one.rule_id)) for one in taken], problems


def _take(
    connection: Db,
    row: tuple[str, dict[str, object]],
    in_force: Mapping[str, RuleVersion],
    differing: Sequence[tuple[str, dict[str, object]]],
    *,
    activate: bool,
    actor: str,
    reason: str,
) -> Changed:
    rule_id, definition = row
    standing = in_force.get(rule_id)
    before = standing.version if standing else None
    if row not in differing:
        return Changed(change="unchanged", rule_id=rule_id, version=before, before=before, state="active")
    current = standing or rules.current(connection, rule_id)
    written = _write(connection, rule_id, definition, current, actor=actor, reason=reason)
    if activate:
        rules.put_in_force(
            connection, rule_id, written.version, action="activate", actor=actor, reason=reason
        )
        detail = {"from": before, "to": written.version}
        rules.audit(connection, "rule.activate", rule_id, actor=actor, reason=reason, detail=detail)
    return Changed(
        change="changed" if current else "new",
        rule_id=rule_id,
        version=written.version,
        before=before,
        state="active" if activate else written.state,
    )


# ── looking ──────────────────────────────────────────────────────────────────────────────────────────


def validate(
    connection: Db, rows: Sequence[tuple[str, Mapping[str, object]]], *, now: datetime
) -> list[Problem]:
    """What would be said of these definitions if they came into force now; nothing is written."""
    return problems_of(connection, [(rule_id, _checked(rule_id, row)) for rule_id, row in rows], now=now)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A definition as a rule file would hold it, what stands against it, and how many devices it is for."""

    definition: dict[str, object]
    toml: str
    problems: tuple[Problem, ...]
    devices: int


def trial(connection: Db, rule_id: str, definition: Mapping[str, object], *, now: datetime) -> Trial:
    """As ``validate``, and how far it would reach. Devices are counted by scope alone, whatever family it is of."""
    checked = _checked(rule_id, definition)
    rule = from_row(rule_id, 1, checked)
    ground = facts(connection, [rule], now=now).ground
    return Trial(
        definition=checked,
        toml=rule_to_toml(rule_id, checked),
        problems=tuple(problems_of(connection, [(rule_id, checked)], now=now)),
        devices=sum(one.devices for one in ground if rule.scope.matches(one)),
    )


def read_file(rule_id: str, text: str) -> dict[str, object]:
    """The definition in a rule file that holds this one rule. Raises RuleError and RuleChangeError."""
    rows = to_rows(text, "toml")
    if [row[0] for row in rows] != [rule_id]:
        held = ", ".join(row[0] for row in rows) or "no rule"
        raise RuleChangeError(
            "invalid",
            f"toml: holds {held}; it must hold {rule_id} alone",
            f"toml：其中是 {held}，应只有规则 {rule_id}",
        )
    return rows[0][1]


def check_imported(connection: Db, rule_ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Faults and warnings, a line each, of rules that an import of the district's files has just put in force.

    A rule that came with the product is no fault of the district's: an error in it is a warning, and what would
    be a warning (it has no such device) is as it should be.
    """
    chosen = {rule.rule_id: rule for rule in rules.active(connection) if rule.rule_id in set(rule_ids)}
    found = problems_of(
        connection, [(rule.rule_id, rule.definition) for rule in chosen.values()], now=datetime.now(UTC)
    )
    faults: list[str] = []
    warnings: list[str] = []
    for problem in found:
        rule = chosen.get(problem.rule_id)
        own = rule is not None and not rule.source.startswith(BUILT_IN)
        line = f"{rule.source if rule else ''}: {problem.line()}".removeprefix(": ")
        if own and problem.severity == "error":
            faults.append(line)
        elif own or problem.severity == "error":
            warnings.append(line)
    return faults, warnings


def problems_of(
    connection: Db,
    proposed: Sequence[tuple[str, Mapping[str, object]]],
    *,
    without: Iterable[str] = (),
    now: datetime,
) -> list[Problem]:
    """What the checks say of definitions beside the rules that stay in force."""
    new = [from_row(rule_id, 1, definition) for rule_id, definition in proposed]
    leaving = {rule.rule_id for rule in new} | set(without)
    staying, unreadable = [], []
    for version in rules.active(connection):
        if version.rule_id in leaving:
            continue
        try:
            staying.append(from_row(version.rule_id, version.version, version.definition))
        except RuleError as error:
            unreadable.append(_unreadable(version, error))
    return check(new, staying, facts(connection, new, now=now)) + unreadable


def differences(before: Mapping[str, object], after: Mapping[str, object]) -> list[KeyDiff]:
    """The keys in which two definitions differ, by name."""
    return [
        KeyDiff(key=key, before=before.get(key), after=after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def unified(before: RuleVersion, after: RuleVersion) -> str:
    """The difference of two versions as a unified diff of their rule files."""
    old, new = (
        rule_to_toml(one.rule_id, one.definition).splitlines(keepends=True) for one in (before, after)
    )
    names = [f"{one.rule_id} version {one.version}" for one in (before, after)]
    return "".join(difflib.unified_diff(old, new, names[0], names[1], n=50))


def facts(connection: Db, new: Sequence[Rule], *, now: datetime) -> Facts:
    """What the checks need to know of the district, as far as these rules ask for it."""
    asked = {(kind, metric) for rule in new for kind in rule.scope.kinds for metric in rule.metrics()}
    named = {code for rule in new for code in rule.scope.devices}
    found = rule_facts.load(connection, devices=sorted(named), pairs=sorted(asked), now=now)
    return Facts(
        metrics={one.code: MetricFact(unit=one.unit) for one in found.metrics},
        kinds={
            one.code: KindFact(main_metric=one.main_metric, interval_s=one.interval_s) for one in found.kinds
        },
        seen=frozenset(found.seen),
        categories=frozenset(found.categories),
        areas={layer: frozenset(codes) for layer, codes in found.areas.items()},
        ground=tuple(_ground(one) for one in found.ground),
    )


def _ground(row: rule_facts.GroundRow) -> Ground:
    return Ground(
        code=row.code or "",
        kind=row.kind,
        model=row.model,
        tags=frozenset(row.tags),
        places={"cell": row.cell or "", "community": row.community or "", "street": row.street or ""},
        devices=row.devices,
        interval_s=row.interval_s,
        levels={"warning": row.warning_m, "guaranteed": row.guaranteed_m, "highest": row.highest_m}
        if row.station
        else None,
    )


# ── refusing ─────────────────────────────────────────────────────────────────────────────────────────


def _write(
    connection: Db,
    rule_id: str,
    definition: Mapping[str, object],
    current: RuleVersion | None,
    *,
    actor: str,
    reason: str,
) -> RuleVersion:
    written = rules.insert_draft(
        connection,
        rule_id,
        definition,
        author=actor,
        reason=reason,
        source=current.source if current else "",
        based_on=current.version if current else None,
    )
    detail = {"version": written.version, "based_on": written.based_on, "digest": written.digest}
    rules.audit(connection, "rule.draft", rule_id, actor=actor, reason=reason, detail=detail)
    return written


def _checked(rule_id: str, definition: Mapping[str, object]) -> dict[str, object]:
    """As a rule file would be read: the same strictness, the same errors. Raises RuleError."""
    try:
        text = rule_to_toml(rule_id, definition)
    except TypeError as error:
        raise RuleChangeError("invalid", f"definition: {error}", f"定义无法写成规则文件：{error}") from error
    ((_, checked),) = to_rows(text, "definition")
    return checked


def _expect(rule_id: str, current: RuleVersion | None, expected: int | None) -> None:
    if current is None:
        if expected is None:
            return
        raise _no_rule(rule_id)
    if expected is None:
        raise RuleChangeError(
            "precondition",
            f"{rule_id} is there: send If-Match with the ETag of GET /api/rules/{rule_id}, which is version "
            f"{current.version}",
            f"规则 {rule_id} 已存在：请在 If-Match 中给出其 ETag（当前版本 {current.version}）",
        )
    if expected != current.version:
        raise RuleChangeError(
            "stale",
            f"{rule_id} is at version {current.version} by now, you looked at {expected}; look again",
            f"规则 {rule_id} 已是版本 {current.version}，您看到的是版本 {expected}，请重新查看",
        )


def _refuse(problems: Sequence[Problem], *, accept_warnings: bool) -> None:
    faults = [problem for problem in problems if problem.severity == "error"]
    if faults:
        raise RuleChangeError(
            "problems",
            f"{len(faults)} faults stand against it; the first: {faults[0].line()}",
            f"有 {len(faults)} 处错误，首项：{faults[0].line_zh()}",
            problems,
        )
    if problems and not accept_warnings:
        raise RuleChangeError(
            "problems",
            f"{len(problems)} warnings; read them and accept_warnings, or change the rule. "
            f"The first: {problems[0].line()}",
            f"有 {len(problems)} 条警告，请确认后以 accept_warnings 接受，或修改规则。首项：{problems[0].line_zh()}",
            problems,
        )


def _unreadable(version: RuleVersion, error: RuleError) -> Problem:
    """A rule in force that this version of the product cannot read: said, and no hindrance to mending another."""
    return Problem(
        rule_id=version.rule_id,
        key="definition",
        value=f"version {version.version}",
        severity="warning",
        text=f"is in force and cannot be read: {error}",
        text_zh=f"已启用但无法读取：{error}",
        remedy="write a new version of it, or retire it",
        remedy_zh="请编写新版本，或停用该规则",
    )


def _stale_base(version: RuleVersion, in_force: RuleVersion) -> Problem:
    return Problem(
        rule_id=version.rule_id,
        key="based_on",
        value=version.based_on,
        severity="warning",
        text=f"was edited from version {version.based_on}, and version {in_force.version} is in force by now",
        text_zh=f"该版本修改自版本 {version.based_on}，而目前启用的是版本 {in_force.version}",
        remedy=f"look at the diff from {in_force.version}: its changes would be lost",
        remedy_zh=f"请查看与版本 {in_force.version} 的差异，其改动会丢失",
    )


def _of(problems: Sequence[Problem], rule_id: str) -> tuple[Problem, ...]:
    return tuple(problem for problem in problems if problem.rule_id == rule_id)


def _no_rule(rule_id: str) -> RuleChangeError:
    return RuleChangeError("not_found", f"there is no rule {rule_id!r}", f"没有规则“{rule_id}”")


def _no_version(rule_id: str, number: int) -> RuleChangeError:
    return RuleChangeError(
        "not_found", f"there is no version {number} of rule {rule_id!r}", f"规则“{rule_id}”没有版本 {number}"
    )
