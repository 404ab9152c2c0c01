"""``city ca``: a small certificate authority for a closed network, in a folder of its own."""
# ruff: noqa: PLC0415 - as in runtime.cli: `city --help` must not wait for cryptography

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from city.errors import CityError

app = typer.Typer(
    name="ca",
    help="证书 · A small certificate authority for a closed network: servers, devices, revocation.",
    no_args_is_help=True,
)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for scripts.")]
Folder = Annotated[Path, typer.Option(help="Where the authority is kept; its key signs everything.")]
Passphrase = Annotated[
    Path | None, typer.Option("--passphrase-file", help="First line opens the authority's key.")
]
HERE = Path("ca")


@app.command()
def init(
    folder: Folder = HERE,
    name: Annotated[str, typer.Option(help="Of the authority, as certificates show it.")] = "City CA",
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """新建 · Make the authority: EC P-256, good for ten years, and an empty revocation list."""
    from runtime import certificates

    made = certificates.init(folder, name, _passphrase(passphrase_file), datetime.now(UTC))
    text = f"{made}\nkeep {folder} off the network, with a copy elsewhere: its key signs everything"
    _say(as_json, {"certificate": str(made), "folder": str(folder)}, text)


@app.command()
def issue(
    use: Annotated[str, typer.Argument(help="server or device")],
    name: Annotated[str, typer.Argument(help="Host name of a server; account at the broker of a device.")],
    also: Annotated[list[str] | None, typer.Option(help="Further name or address of a server.")] = None,
    folder: Folder = HERE,
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """签发 · A certificate with its key: of a server for 397 days, of a device for three years."""
    from runtime import certificates

    if use not in ("server", "device"):
        raise CityError(f"use = {use}: write server or device")
    made = certificates.issue(
        folder,
        "server" if use == "server" else "device",
        name,
        also or [],
        _passphrase(passphrase_file),
        datetime.now(UTC),
    )
    told = {"name": name, "use": use, "serial": f"{made.serial:x}", "until": made.until.isoformat()}
    told |= {"certificate": str(made.certificate), "key": str(made.key)}
    _say(as_json, told, f"{made.certificate}\n{made.key}\ngood until {made.until:%Y-%m-%d}")


@app.command()
def revoke(
    wanted: Annotated[
        str, typer.Argument(metavar="NAME|SERIAL", help="All of a name, or one by its serial.")
    ],
    folder: Folder = HERE,
    passphrase_file: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """吊销 · Put certificates on the revocation list; give crl.pem to the broker and let it read it (SIGHUP)."""
    from runtime import certificates

    gone = certificates.revoke(folder, wanted, _passphrase(passphrase_file), datetime.now(UTC))
    serials = [f"{one.serial:x}" for one in gone]
    _say(
        as_json,
        {"revoked": serials},
        f"revoked {', '.join(serials)}; the broker needs {folder / 'crl.pem'} anew",
    )


@app.command("renew-list")
def renew_list(folder: Folder = HERE, passphrase_file: Passphrase = None, as_json: AsJson = False) -> None:
    """续签吊销列表 · Sign the revocation list anew; a broker whose list is out of date lets nobody in."""
    from runtime import certificates

    until = certificates.renew_list(folder, _passphrase(passphrase_file), datetime.now(UTC))
    _say(as_json, {"until": until.isoformat()}, f"{folder / 'crl.pem'} is good until {until:%Y-%m-%d}")


@app.command("list")
def list_(folder: Folder = HERE, as_json: AsJson = False) -> None:
    """查看 · What was issued, until when; exit code 1 when something that is in use ends within 30 days."""
    from runtime import certificates

    now = datetime.now(UTC)
    found = certificates.issued(folder)
    table = Table("name", "use", "serial", "until", "")
    for one in found:
        state = "revoked" if one.revoked else "ended" if one.until <= now else ""
        table.add_row(one.name, one.use, f"{one.serial:x}", f"{one.until:%Y-%m-%d}", state)
    soon = [what for what, until in certificates.ends(folder) if until - now < certificates.SOON]
    told = {
        "items": [
            {
                "name": one.name,
                "use": one.use,
                "serial": f"{one.serial:x}",
                "until": one.until.isoformat(),
                "revoked": one.revoked,
            }
            for one in found
        ],
        "ending": soon,
    }
    _say(as_json, told, table)
    if soon:
        if not as_json:
            Console().print(f"ends within {certificates.SOON // timedelta(days=1)} days: {', '.join(soon)}")
        raise typer.Exit(1)


def _passphrase(file: Path | None) -> bytes | None:
    """The first line of a file; never an option's value, which others on this machine could read."""
    if file is None:
        return None
    try:
        line = file.read_text(encoding="utf-8").splitlines()[0].strip()
    except (OSError, IndexError) as error:
        raise CityError(f"--passphrase-file = {file}: cannot be read or is empty") from error
    if not line:
        raise CityError(f"--passphrase-file = {file}: its first line is empty")
    return line.encode()


def _say(as_json: bool, told: object, shown: object) -> None:
    if as_json:
        print(json.dumps(told, ensure_ascii=False))  # noqa: T201 - a script reads this
    else:
        Console().print(shown, highlight=False, soft_wrap=True)
