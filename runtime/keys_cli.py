"""``city keys``: the keys that seal personal data and shared secrets, from the command line."""
# ruff: noqa: PLC0415 - as in runtime.cli: `city --help` must not wait for the database's driver

import asyncio
import json
from typing import Annotated, Any

import typer
from rich.console import Console

from city import settings

app = typer.Typer(
    name="keys", help="密钥 · The keys that seal personal data and shared secrets.", no_args_is_help=True
)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for scripts.")]


@app.callback()
def keys() -> None:
    """密钥 · The keys that seal personal data and shared secrets."""


@app.command()
def make() -> None:
    """生成 · Make the key file where there is none; for a machine on which the centre may not write it."""
    chosen = settings.load()
    ring = chosen.keys.ring()
    Console().print(f"{chosen.key_file}: {ring.newest.hex()} seals; keep a copy apart from the backups")


@app.command()
def show(as_json: AsJson = False) -> None:
    """查看 · Which keys there are, how many values each seals, and how many are still plain."""
    from city.storage import sealed, shared_secrets
    from city.storage.changes import open_connection
    from runtime import connections

    async def counted(url: str) -> tuple[dict[bytes, int], int]:
        async with await open_connection(url, "city keys", autocommit=True) as connection:
            plain = await sealed.plain(connection) + await shared_secrets.plain(connection)
            return await sealed.key_uses(connection), plain

    chosen = settings.load()
    ring = chosen.keys.ring()
    with connections.database(chosen) as url:
        uses, plain = asyncio.run(counted(url))
    counts = {name.hex(): uses.get(name, 0) for name in ring.keys}
    told = {"file": str(chosen.key_file), "seals": ring.newest.hex(), "values": counts, "plain": plain}
    lines = [f"{chosen.key_file}: {plain} values are plain"]
    for name, count in counts.items():
        role = "seals" if name == told["seals"] else "opens"
        lines.append(f"{name} {role}, {count} values under it")
    _print(told, "\n".join(lines), as_json)


@app.command()
def rotate(as_json: AsJson = False) -> None:
    """更换 · Add a fresh key and seal everything anew with it, while everything runs; older ones still open backups."""
    from command_centre import data_keys
    from runtime import connections

    chosen = settings.load()
    with connections.database(chosen) as url:
        done = asyncio.run(data_keys.rotate(url, chosen.keys))
    told = {"file": str(chosen.key_file), "seals": done.key, "values": done.values}
    _print(told, f"{done.key} seals now; {done.values} values sealed anew; copy {chosen.key_file}", as_json)


@app.command()
def drop(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its id, as `city keys show` lists it.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask: no backup under this key is needed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """删除 · Drop an older key that seals nothing here any more; backups made under it stay closed for good."""
    from command_centre import data_keys
    from runtime import connections

    if not yes:
        typer.confirm(f"drop {key}? backups made while it sealed can then not be read", abort=True, err=True)
    chosen = settings.load()
    with connections.database(chosen) as url:
        asyncio.run(data_keys.drop(url, chosen.keys, key))
    _print(
        {"file": str(chosen.key_file), "dropped": key},
        f"{key} is gone from {chosen.key_file}; replace the copy you keep",
        as_json,
    )


def _print(told: dict[str, Any], line: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(told))
    else:
        Console(soft_wrap=True).print(line)
