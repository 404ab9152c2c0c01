"""``city keys``: the keys that seal personal data, from the command line."""
# ruff: noqa: PLC0415 - as in runtime.cli: `city --help` must not wait for the database's driver

import asyncio
import json
from typing import Annotated, Any

import typer
from rich.console import Console

from city import settings

app = typer.Typer(name="keys", help="密钥 · The keys that seal personal data.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for scripts.")]


@app.callback()
def keys() -> None:
    """密钥 · The keys that seal personal data."""


@app.command()
def make() -> None:
    """生成 · Make the key file where there is none; for a machine on which the centre may not write it."""
    chosen = settings.load()
    ring = chosen.keys.ring()
    Console().print(f"{chosen.key_file}: {ring.newest.hex()} seals; keep a copy apart from the backups")


@app.command()
def show(as_json: AsJson = False) -> None:
    """查看 · Which keys there are, by id, and what is still sealed with none."""
    from city.storage import sealed
    from city.storage.changes import open_connection
    from runtime import connections

    async def plain(url: str) -> int:
        async with await open_connection(url, "city keys", autocommit=True) as connection:
            return await sealed.plain(connection)

    chosen = settings.load()
    ring = chosen.keys.ring()
    with connections.database(chosen) as url:
        left = asyncio.run(plain(url))
    told = {
        "file": str(chosen.key_file),
        "seals": ring.newest.hex(),
        "opens": [name.hex() for name in ring.keys],
        "plain_contacts": left,
    }
    _print(
        told,
        f"{told['file']}: {told['seals']} seals, {len(ring.keys)} open, {left} contacts are plain",
        as_json,
    )


@app.command()
def rotate(as_json: AsJson = False) -> None:
    """更换 · Add a fresh key and seal everything anew with it, while everything runs; older ones still open backups."""
    from command_centre import data_keys
    from runtime import connections

    chosen = settings.load()
    with connections.database(chosen) as url:
        done = asyncio.run(data_keys.rotate(url, chosen.keys))
    told = {"file": str(chosen.key_file), "seals": done.key, "contacts": done.contacts}
    _print(
        told, f"{done.key} seals now; {done.contacts} contacts sealed anew; copy {chosen.key_file}", as_json
    )


def _print(told: dict[str, Any], line: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(told))
    else:
        Console(soft_wrap=True).print(line)
