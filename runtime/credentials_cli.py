"""``city credentials``: accounts of devices at the broker from the command line, and the broker's files."""
# ruff: noqa: PLC0415 - as in runtime.cli: `city --help` must not wait for the database's driver

import asyncio
import csv
import json
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from city import settings
from city.errors import CityError

app = typer.Typer(
    name="credentials",
    help="设备凭据 · Accounts of devices at the broker: made, rotated, revoked; the broker's files.",
    no_args_is_help=True,
)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for scripts.")]
Reason = Annotated[str, typer.Option(help="Kept for good.")]
_ACTOR = "command-line"
_BY_HAND = "by the command line"
Done = TypeVar("Done")


@app.command()
def make(
    device: Annotated[str, typer.Argument(help="Code in the register.")],
    family: Annotated[
        list[str] | None, typer.Option(help="It speaks for this family as a whole (a bridge); once for each.")
    ] = None,
    topic: Annotated[list[str] | None, typer.Option(help="A further filter it may write on.")] = None,
    certificate: Annotated[
        bool, typer.Option("--certificate", help="No secret: it comes with a client certificate.")
    ] = False,
    overlap_hours: Annotated[
        float, typer.Option(help="How long an account it has already stays good.", min=0, max=2160)
    ] = 24,
    reason: Reason = _BY_HAND,
    as_json: AsJson = False,
) -> None:
    """新建或轮换 · Give a device an account, or the next one; the secret is printed this once."""
    from command_centre import credential_changes as changes

    wanted = changes.Wanted(
        families=family,
        topics=topic,
        certificate_only=certificate,
        overlap=timedelta(hours=overlap_hours),
        reason=reason,
    )
    done = _work(
        lambda connection: changes.issue(connection, device, wanted, now=datetime.now(UTC), actor=_ACTOR)
    )
    told = {"device": device, "account": done.account, "secret": done.secret}
    told |= {"old_account": done.old_account, "old_ends_at": _text(done.old_ends_at)}
    lines = [f"user name {done.account}", f"secret    {done.secret or '(none: client certificate)'}"]
    if done.old_account:
        lines.append(f"{done.old_account} stays good until {_text(done.old_ends_at)}")
    _say(as_json, told, "\n".join(lines))


@app.command("make-missing")
def make_missing(
    file: Annotated[Path, typer.Argument(metavar="CSV", help="Written with device, account and secret.")],
    kind: Annotated[str | None, typer.Option(help="Only devices of this kind.")] = None,
    reason: Reason = _BY_HAND,
    as_json: AsJson = False,
) -> None:
    """批量新建 · An account for every registered device that has none; the file holds the only copy of the secrets."""
    from city.storage import credentials
    from command_centre import credential_changes as changes

    if file.exists():
        raise CityError(f"{file}: is there already; name another file, secrets are not written over")

    async def work(connection: Any) -> int:
        codes = await credentials.without(connection, kind)
        handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with open(handle, "w", encoding="utf-8", newline="") as out:
            rows = csv.writer(out)
            rows.writerow(("device", "account", "secret"))
            for code in codes:
                wanted = changes.Wanted(reason=reason)
                made = await changes.issue(connection, code, wanted, now=datetime.now(UTC), actor=_ACTOR)
                rows.writerow((code, made.account, made.secret))
            out.flush()
            os.fsync(handle)  # before the commit: an account whose secret nobody has is of no use
        return len(codes)

    made = _work(work)
    _say(as_json, {"made": made, "file": str(file)}, f"{made} accounts made; their secrets are in {file}")


@app.command()
def revoke(
    device: Annotated[str, typer.Argument(help="Code in the register.")],
    account: Annotated[str | None, typer.Argument(help="User name; left out: all it has.")] = None,
    reason: Reason = _BY_HAND,
    as_json: AsJson = False,
) -> None:
    """吊销 · End an account at once; the broker closes its connection within seconds."""
    from city.storage import credentials
    from command_centre import credential_changes as changes

    async def work(connection: Any) -> list[str]:
        known = [
            one.account for one in await credentials.of_device(connection, device) if one.ended_at is None
        ]
        for one in [account] if account else known or [""]:
            await changes.revoke(connection, device, one, actor=_ACTOR, reason=reason)
        return [account] if account else known

    ended = _work(work)
    _say(as_json, {"device": device, "revoked": ended}, f"revoked {', '.join(ended)}")


@app.command("list")
def list_(
    device: Annotated[
        str | None, typer.Argument(help="Code; left out: figures of all, and who shares.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """查看 · Accounts of a device; without one: how many there are, who still shares an account, who has none."""
    from dataclasses import asdict

    from city.storage import credentials

    if device is not None:
        code = device
        found = _work(lambda connection: credentials.of_device(connection, code))
        table = Table("account", "made", "by", "ends", "ended", "last log-in", "from")
        for one in found:
            last = (_text(one.last_login_at), one.last_address or "")
            table.add_row(
                one.account, _text(one.made_at), one.made_by, _text(one.ends_at), _text(one.ended_at), *last
            )
        _say(as_json, {"items": [asdict(one) for one in found]}, table)
        return

    async def work(connection: Any) -> dict[str, Any]:
        return {
            **await credentials.counts(connection),
            "refused_last_day": await credentials.refused_since(
                connection, datetime.now(UTC) - timedelta(days=1)
            ),
            "shared": [asdict(one) for one in await credentials.shared_logins(connection, limit=10_000)],
            "unprotected": await credentials.unprotected(connection, limit=100_000),
        }

    told = _work(work)
    text = (
        f"{told['good']} accounts, {told['ending']} of them end soon, {told['unused']} never logged in;"
        f" {told['refused_last_day']} log-ins refused since yesterday\n"
        f"{len(told['shared'])} clients share an account, {len(told['unprotected'])} devices speak without one of their"
        " own (--json names them)"
    )
    _say(as_json, told, text)


@app.command()
def write(
    folder: Annotated[Path, typer.Argument(help="Folder for `passwords` and `acl`; created when missing.")],
    as_json: AsJson = False,
) -> None:
    """写出文件 · The broker's password and access files as the register has them; then let it read them (SIGHUP)."""
    from city.storage.database import connect
    from command_centre import broker_files
    from runtime import connections

    with (
        connections.database(settings.load()) as url,
        connect(url, application="city credentials", autocommit=True) as connection,
    ):
        _ready(url)
        changed = broker_files.write(connection, folder)
    text = f"wrote {', '.join(changed)} to {folder}" if changed else "unchanged"
    _say(as_json, {"changed": changed, "folder": str(folder)}, text)


def _work(work: Callable[[Any], Awaitable[Done]]) -> Done:
    """One transaction on the installation's database."""
    from city.storage.changes import open_connection
    from runtime import connections

    async def done(url: str) -> Done:
        connection = await open_connection(url, "city credentials")
        async with connection:
            return await work(connection)

    with connections.database(settings.load()) as url:
        _ready(url)
        return asyncio.run(done(url))


def _ready(url: str) -> None:
    from city.storage import migrate

    if missing := migrate.missing(url):
        raise CityError(f"the database lacks {len(missing)} migrations; run `city migrate` first")


def _text(at: datetime | None) -> str:
    return "" if at is None else at.astimezone(settings.load().zone).isoformat(sep=" ", timespec="minutes")


def _say(as_json: bool, told: object, shown: object) -> None:
    if as_json:
        print(json.dumps(told, ensure_ascii=False, default=str))  # noqa: T201 - a script reads this
    else:
        Console().print(shown, highlight=False, soft_wrap=True)
