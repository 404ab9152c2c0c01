"""``city token``: tokens of programs from the command line, for whoever may read the database."""
# ruff: noqa: PLC0415 - as in runtime.cli: `city --help` must not wait for the database's driver

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console

from city import settings
from city.errors import CityError

app = typer.Typer(name="token", help="令牌 · Tokens of programs that call the API.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for scripts.")]
ACTOR = "command-line"


@app.callback()
def token() -> None:
    """令牌 · Tokens of programs that call the API."""


@app.command("list")
def list_tokens(as_json: AsJson = False) -> None:
    """列表 · The newest first, with their ends and last use; never the tokens themselves."""
    from city.storage import api_tokens

    with _database() as connection:
        rows = api_tokens.listed(connection, datetime.now(UTC), before=None, limit=1000)
    if as_json:
        typer.echo(json.dumps({"items": rows}, default=str))
        return
    console = Console(soft_wrap=True)
    for row in rows:
        reach = row["scope"] or "all"
        does = "reads" if row["only_reads"] else "reads and writes"
        console.print(f"{row['id']} {row['name']}: {row['role']}, {reach}, {does}, {row['state']}")


@app.command()
def make(
    name: Annotated[str, typer.Argument(help="Which program, and whose.")],
    role: Annotated[str, typer.Option(help="What it may do.")] = "viewer",
    writes: Annotated[
        bool, typer.Option("--writes", help="It may change things; else it only reads.")
    ] = False,
    scope: Annotated[str, typer.Option(help="Code of the area it reaches; empty = all.")] = "",
    unit: Annotated[str, typer.Option(help="Code of the unit it acts for, as a handler.")] = "",
    days: Annotated[int, typer.Option(help="So long it is good.", min=1, max=366)] = 90,
    as_json: AsJson = False,
) -> None:
    """生成 · A new token, printed this once; sent as `Authorization: Bearer`."""
    from city.storage import api_tokens, audit, users
    from command_centre import accounts, tokens

    if role not in settings.ROLES:
        raise CityError(f"--role {role}: use {', '.join(settings.ROLES)}")
    now = datetime.now(UTC)
    secret = tokens.fresh()
    with _database() as connection:
        unit_id = users.unit_by_code(connection, unit) if unit else None
        if unit_id is None and (unit or role == "handler"):
            raise CityError(f"--unit {unit}: a handler acts for a working unit; see /api/units for its code")
        if scope and not users.is_area(connection, scope):
            raise CityError(f"--scope {scope}: is no street, community or cell; see /api/areas")
        number = api_tokens.create(
            connection,
            name=name,
            digest=accounts.digest(secret),
            role=role,
            only_reads=not writes,
            scope=scope or None,
            unit_id=unit_id,
            actor=ACTOR,
            now=now,
            expires_at=now + timedelta(days=days),
        )
        detail = {"role": role, "only_reads": not writes, "scope": scope or None, "days": days}
        audit.record(
            connection, actor=ACTOR, action="token.created", subject=f"token:{number}", detail=detail
        )
    told = {"id": number, "token": secret, "expires_at": (now + timedelta(days=days)).isoformat()}
    typer.echo(json.dumps(told) if as_json else secret)


@app.command()
def revoke(number: Annotated[int, typer.Argument(help="As `city token list` names it.")]) -> None:
    """作废 · End a token for good."""
    from city.storage import api_tokens, audit

    with _database() as connection:
        if not api_tokens.revoke(connection, number, ACTOR, datetime.now(UTC)):
            raise CityError(f"NUMBER = {number}: there is no such token, or it was revoked before")
        audit.record(connection, actor=ACTOR, action="token.revoked", subject=f"token:{number}")
    typer.echo(f"{number} is revoked")


@contextmanager
def _database() -> Iterator[Any]:
    from city.storage import migrate
    from city.storage.database import connect, translated
    from runtime import connections

    with connections.database(settings.load()) as url:
        if missing := migrate.missing(url):
            raise CityError(f"the database lacks {len(missing)} migrations; run `city migrate` first")
        with connect(url, application="city token") as connection, translated():
            yield connection
