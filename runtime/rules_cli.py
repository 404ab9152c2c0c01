"""``city rules``: the rule set from the command line, through the same functions and checks as the API."""
# ruff: noqa: PLC0415 - as in runtime.cli: `city --help` must not wait for numpy

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from city import settings
from city.errors import CityError

if TYPE_CHECKING:
    from psycopg import Connection

    from command_centre.rule_changes import Changed
    from rules.problems import Problem

ACTOR = "command-line"

app = typer.Typer(
    name="rules",
    help="规则 · Versions of rules: look, compare, check, take in, put in force, go back.",
    no_args_is_help=True,
)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for scripts.")]
RuleId = Annotated[str, typer.Argument(metavar="RULE", help="Its id, such as smoke-high.")]
RuleFile = Annotated[Path, typer.Argument(metavar="FILE", help="A rule file (TOML); - = standard input.")]
Reason = Annotated[str, typer.Option(help="Why; kept for good.")]
AcceptWarnings = Annotated[bool, typer.Option("--accept-warnings", help="Put in force all the same.")]


class State(Enum):
    """Which rules to list."""

    ACTIVE = "active"
    DRAFT = "draft"
    RETIRED = "retired"
    ALL = "all"


@app.command("list")
def list_(
    state: Annotated[State, typer.Option(help="In force, or what else.")] = State.ACTIVE,
    as_json: AsJson = False,
) -> None:
    """列表 · Rules with version, open alarms and who moved them last."""
    from city.storage import rules

    wanted: Any = None if state is State.ALL else state.value
    with _database() as connection:
        rows = rules.listed(connection, state=wanted, after=None, limit=10_000)
    if as_json:
        _print({"items": rows})
        return
    table = Table("id", "version", "state", "名称", "name", "level", "open", "drafts", "last", box=None)
    for row in rows:
        last = (
            f"{row['last_action_at']:%Y-%m-%d %H:%M}Z {row['last_action_by']}"
            if row["last_action_at"]
            else ""
        )
        words = [str(row["definition"].get(key, "")) for key in ("name", "name_en", "level")]
        figures = [str(row["open_alarms"]), str(row["drafts"])]
        table.add_row(row["id"], str(row["version"]), row["state"], *words, *figures, last)
    Console().print(table)


@app.command()
def show(
    rule: RuleId,
    version: Annotated[int | None, typer.Option(help="Left out = the one in force.", min=1)] = None,
    as_json: AsJson = False,
) -> None:
    """查看 · One rule as it is written, with its versions and what became of them."""
    from city.storage import rules
    from rules.writing import rule_to_toml

    with _database() as connection:
        chosen = _version(connection, rule, version)
        known = rules.versions(connection, rule)
        history = rules.history(connection, rule)
    if as_json:
        _print({**asdict(chosen), "versions": [asdict(one) for one in known], "history": history})
        return
    _say(rule_to_toml(rule, chosen.definition).rstrip())
    for one in known:
        _say(
            f"version {one.version}  {one.state}  {one.created_at:%Y-%m-%d %H:%M}Z  {one.author}  {one.reason}"
        )
    for move in history:
        way = f"{move['from_version'] or '-'} → {move['to_version'] or '-'}"
        _say(f"{move['at']:%Y-%m-%d %H:%M}Z  {move['action']} {way}  {move['actor']}  {move['reason']}")


@app.command()
def diff(
    rule: RuleId,
    before: Annotated[int | None, typer.Option("--from", help="Left out = the one in force.", min=1)] = None,
    after: Annotated[int | None, typer.Option("--to", help="Left out = the newest.", min=1)] = None,
    as_json: AsJson = False,
) -> None:
    """比较 · What differs between two versions; exit code 1 when something does."""
    from city.storage import rules
    from command_centre import rule_changes

    with _database() as connection:
        one = _version(connection, rule, before)
        newest = rules.versions(connection, rule)[0].version
        other = _version(connection, rule, after or newest)
    keys = [asdict(key) for key in rule_changes.differences(one.definition, other.definition)]
    text = rule_changes.unified(one, other)
    if as_json:
        _print({"id": rule, "from": one.version, "to": other.version, "keys": keys, "toml": text})
    else:
        _say(text.rstrip() or f"versions {one.version} and {other.version} say the same")
    raise typer.Exit(1 if keys else 0)


@app.command()
def validate(file: RuleFile, as_json: AsJson = False) -> None:
    """检查 · Hold a rule file against the district; nothing is written. Exit code 1 when it would be refused."""
    from command_centre import rule_changes
    from rules.definitions import RuleError, to_rows

    text, name = _read(file)
    try:
        rows = to_rows(text, name)
    except RuleError as error:
        _print({"ok": False, "error": str(error)}) if as_json else _say(f"error: {error}")
        raise typer.Exit(1) from error
    with _database() as connection:
        found = rule_changes.validate(connection, rows, now=datetime.now(UTC))
    refused = any(problem.severity == "error" for problem in found)
    if as_json:
        _print({"ok": not refused, "rules": len(rows), "problems": [asdict(problem) for problem in found]})
    else:
        _say_problems(found)
        _say(f"{name}: {len(rows)} rules, {'refused' if refused else 'may come into force'}")
    raise typer.Exit(1 if refused else 0)


@app.command("import")
def import_(
    file: RuleFile,
    reason: Reason,
    activate: Annotated[bool, typer.Option("--activate", help="Put it in force; else drafts.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="With --activate: retire the rules it does not name.")
    ] = False,
    accept_warnings: AcceptWarnings = False,
    as_json: AsJson = False,
) -> None:
    """导入 · Take in a rule file, all of it or nothing. Exit code 1 when the checks refuse it."""
    from command_centre import rule_changes

    text, name = _read(file)
    with _database() as connection, _refusals(as_json):
        done, found = rule_changes.import_set(
            connection,
            text,
            name,
            actor=ACTOR,
            reason=_given(reason),
            activate=activate,
            replace_all=replace,
            accept_warnings=accept_warnings,
            now=datetime.now(UTC),
        )
    if as_json:
        _print({"items": [asdict(one) for one in done], "problems": [asdict(problem) for problem in found]})
        return
    _say_problems(found)
    for one in done:
        _say_change(one)


@app.command()
def export(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Left out = standard output.")] = None,
) -> None:
    """导出 · The rules in force as one rule file; the same rules give the same bytes."""
    from command_centre import rule_changes

    with _database() as connection:
        text = rule_changes.export_set(connection)
    if file is None:
        sys.stdout.write(text)
        return
    try:
        file.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise CityError(f"{file} cannot be written ({error.strerror}); name another file") from error


@app.command()
def activate(
    rule: RuleId,
    version: Annotated[int, typer.Argument(min=1)],
    reason: Reason,
    accept_warnings: AcceptWarnings = False,
    as_json: AsJson = False,
) -> None:
    """启用 · Put a version in force, after checking it again. Exit code 1 when the checks refuse it."""
    _move("activate", rule, version, reason, accept_warnings, as_json)


@app.command()
def rollback(
    rule: RuleId,
    version: Annotated[int, typer.Argument(min=1)],
    reason: Reason,
    accept_warnings: AcceptWarnings = False,
    as_json: AsJson = False,
) -> None:
    """回退 · Put a version in force that was before, after checking it again."""
    _move("rollback", rule, version, reason, accept_warnings, as_json)


@app.command()
def retire(rule: RuleId, reason: Reason, as_json: AsJson = False) -> None:
    """停用 · Put a rule out of force; its open alarms clear."""
    from command_centre import rule_changes

    with _database() as connection, _refusals(as_json):
        done = rule_changes.retire(connection, rule, actor=ACTOR, reason=_given(reason))
    if as_json:
        _print(asdict(done))
    else:
        _say_change(done)


def _move(action: Any, rule: str, version: int, reason: str, accept_warnings: bool, as_json: bool) -> None:
    from command_centre import rule_changes

    with _database() as connection, _refusals(as_json):
        done = rule_changes.put_in_force(
            connection,
            rule,
            version,
            action=action,
            actor=ACTOR,
            reason=_given(reason),
            accept_warnings=accept_warnings,
            now=datetime.now(UTC),
        )
    if as_json:
        _print(asdict(done))
        return
    _say_problems(done.problems)
    _say_change(done)


# ── reading and saying ───────────────────────────────────────────────────────────────────────────────


@contextmanager
def _database() -> "Iterator[Connection[Any]]":
    """A connection whose work is committed at the end, on a database of this version."""
    from city.storage import migrate
    from city.storage.database import connect, translated
    from runtime import connections

    with connections.database(settings.load()) as url:
        if missing := migrate.missing(url):
            raise CityError(f"the database lacks {len(missing)} migrations; run `city migrate` first")
        with translated(), connect(url, application="city rules") as connection:
            yield connection


@contextmanager
def _refusals(as_json: bool) -> Iterator[None]:
    """What the checks refuse is listed, with exit code 1; everything else is an error of the call."""
    from command_centre.rule_changes import RuleChangeError

    try:
        yield
    except RuleChangeError as error:
        if error.code != "problems":
            raise
        if as_json:
            _print({"refused": error.reason, "problems": [asdict(problem) for problem in error.problems]})
        else:
            _say_problems(error.problems)
            _say(f"refused: {error.reason}")
        raise typer.Exit(1) from error


def _version(connection: "Connection[Any]", rule: str, number: int | None) -> Any:
    from city.storage import rules

    found = rules.current(connection, rule) if number is None else rules.version(connection, rule, number)
    if found is None:
        which = "" if number is None else f" of version {number}"
        raise CityError(f"rule = {rule}: there is none{which}; `city rules list --state all` names them")
    return found


def _read(file: Path) -> tuple[str, str]:
    try:
        if str(file) == "-":
            return sys.stdin.read(), "standard input"
        return file.read_text(encoding="utf-8-sig"), file.name
    except OSError as error:
        raise CityError(f"{file} cannot be read ({error.strerror}); name a rule file") from error
    except UnicodeDecodeError as error:
        raise CityError(f"{file}: byte {error.start} is not UTF-8; save the file as UTF-8") from error


def _given(reason: str) -> str:
    if not reason.strip():
        raise CityError("--reason = '': say why; it is kept for good")
    return reason.strip()


def _say_problems(found: "Sequence[Problem]") -> None:
    for problem in found:
        _say(f"{problem.severity}: {problem.line()}\n  {problem.line_zh()}")


def _say_change(done: "Changed") -> None:
    version = "" if done.version is None else f" version {done.version}"
    _say(f"{done.rule_id}: {done.change},{version} {done.state}")


def _say(text: str) -> None:
    Console().print(text, highlight=False, soft_wrap=True, markup=False)


def _print(result: object) -> None:
    print(json.dumps(result, ensure_ascii=False, default=str))  # noqa: T201 - a script reads this
