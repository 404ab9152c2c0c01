"""The ``city`` command: reads settings, wires one room, and turns errors into one line and an exit code.

0 done, 1 found something wrong, 2 cannot work as told (settings, files, unreachable server).
"""
# ruff: noqa: PLC0415 - each command loads its own room only: `city --help` must not wait for numpy

import json
import os
import subprocess
import sys
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from city import logs, service_manager, settings
from city.errors import CityError
from city.service_manager import ServiceManager
from city.settings import Settings, SettingsError
from runtime import (
    audit_cli,
    backtest,
    backtest_rule,
    backup_cli,
    ca_cli,
    catalogue_cli,
    credentials_cli,
    decode_cli,
    district_cli,
    history_cli,
    keys_cli,
    person_cli,
    readings_cli,
    rules_cli,
    scale_cli,
    simulate_cli,
    tokens_cli,
    uplink_cli,
)
from runtime.loading import loading

app = typer.Typer(
    name="city",
    help="城市运行指挥中心 · a district's operations command centre. Settings are CITY_… variables or .env",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(rules_cli.app)
app.add_typer(catalogue_cli.app)
app.add_typer(backtest.app)
app.add_typer(audit_cli.app)
app.add_typer(keys_cli.app)
app.add_typer(person_cli.app)
app.add_typer(credentials_cli.app)
app.add_typer(ca_cli.app)
app.add_typer(tokens_cli.app)
app.add_typer(scale_cli.app)
app.add_typer(district_cli.app)
app.add_typer(history_cli.app)
backtest.app.command()(backtest_rule.rule)
app.command()(decode_cli.decode)
app.command()(readings_cli.readings)
app.command()(simulate_cli.simulate)
app.command("uplink-again")(uplink_cli.again)
app.command()(backup_cli.backup)
app.command()(backup_cli.restore)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for scripts.")]


class Shift(Enum):
    """What becomes of a recorded series' times."""

    ORIGINAL = "original"
    NOW = "now"


class Role(Enum):
    """What an account may do."""

    VIEWER = "viewer"
    HANDLER = "handler"
    GRID_WORKER = "grid_worker"
    HOTLINE = "hotline"
    DISPATCHER = "dispatcher"
    FLOOD_OFFICER = "flood_officer"
    SUPERVISOR = "supervisor"
    ADMINISTRATOR = "administrator"
    INTEGRATOR = "integrator"


@app.command()
def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="Play the scenario `demo` unless CITY_SIMULATE says otherwise.")
    ] = False,
) -> None:
    """启动全部 · Start everything on this machine: broker, database, ingest, centre; Ctrl-C stops it."""
    from runtime import supervisor

    chosen = settings.load()
    if demo and "simulate" not in chosen.model_fields_set:
        chosen = chosen.model_copy(update={"simulate": "demo"})
    raise typer.Exit(supervisor.up(chosen, Console(), _manager()))


@app.command()
def ingest() -> None:
    """采集 · The worker: device messages to committed observations and alarms, until SIGTERM."""
    chosen = _worker("ingest")
    with loading():
        from city.stopping import leave
        from ingest import main as room

    leave(room.run(chosen, _manager()))


@app.command()
def centre() -> None:
    """指挥 · The command centre: incidents, dispatch, deadlines, HTTP and screens, until SIGTERM."""
    chosen = _worker("centre")
    with loading():
        from city.stopping import leave
        from command_centre import main as room

    leave(room.run(chosen, _manager()))


@app.command()
def gateway() -> None:
    """站网接入 · Stations and feeds published to the log of several machines, until SIGTERM."""
    chosen = _settings_of("gateway")
    with loading():
        from city.stopping import leave
        from ingest import gateway as room

    leave(room.run(chosen, _manager()))


@app.command()
def uplink() -> None:
    """上联 · A district's line to its city: what is stored here is told there, until SIGTERM."""
    chosen = _worker("uplink")
    with loading():
        from city.stopping import leave
        from ingest import uplink as room

    leave(room.run(chosen, _manager()))


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(metavar="CSV", help="Recorded series, .csv or .csv.gz.")],
    speed: Annotated[
        float, typer.Option(help="Times faster than recorded; 0 = as fast as possible.", min=0)
    ] = 0.0,
    cell: Annotated[str | None, typer.Option(help="Cell of the topic.")] = None,
    kind: Annotated[str | None, typer.Option(help="Kind of device, when the columns do not tell.")] = None,
    device: Annotated[str | None, typer.Option(help="One device for all rows.")] = None,
    device_column: Annotated[str | None, typer.Option(help="Column with the device's code.")] = None,
    time_column: Annotated[str | None, typer.Option(help="Column with the time.")] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="COLUMN=METRIC, once for each column to publish.")
    ] = None,
    start: Annotated[datetime | None, typer.Option(help="Leave out rows before this time.")] = None,
    end: Annotated[datetime | None, typer.Option(help="Leave out rows from this time on.")] = None,
    origin: Annotated[datetime | None, typer.Option(help="When a series in relative seconds began.")] = None,
    shift: Annotated[Shift, typer.Option(help="Keep the original times, or end now.")] = Shift.ORIGINAL,
    as_json: AsJson = False,
) -> None:
    """回放 · Send a recorded series to the broker with its original times; naive times are UTC."""
    from runtime import connections

    chosen = settings.load()
    logs.configure("replay", chosen.log_level, chosen.log_format)
    from runtime import simulators_there

    with simulators_there.asked("a replay"):
        from simulators import replay as room

    more: dict[str, Any] = {} if cell is None else {"cell": cell}
    raise typer.Exit(
        room.run(
            file,
            mqtt_url=connections.broker(chosen),
            speed=speed,
            kind=kind,
            device=device,
            device_column=device_column,
            time_column=time_column,
            metrics=_pairs("--metric", metric) if metric else None,
            start=start,
            end=end,
            origin=origin,
            shift=shift.value,
            as_json=as_json,
            **more,
        )
    )


@app.command()
def bench(
    arguments: Annotated[list[str] | None, typer.Argument(help="Passed on to bench/run.py.")] = None,
) -> None:
    """测速 · Measure this machine: messages a second, latency, CPU. Part of a source checkout."""
    script = Path(__file__).resolve().parent.parent / "bench" / "run.py"
    if not script.exists():
        raise CityError(
            "the bench is part of a source checkout, not of the package; clone it, then `make bench`"
        )
    raise typer.Exit(
        subprocess.run([sys.executable, str(script), *(arguments or [])], check=False).returncode
    )


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """体检 · Say what is missing or wrong on this machine, with the remedy; exit code 1 when it matters."""
    from runtime import doctor as room

    raise typer.Exit(room.run(Console(), as_json=as_json))


@app.command()
def migrate(as_json: AsJson = False) -> None:
    """升级结构 · Bring the database to this version: schema, built-in kinds, categories and rules."""
    from city import district
    from city.storage import migrate as schema
    from city.storage import services
    from rules.definitions import to_rows
    from runtime import connections

    chosen = settings.load()
    logs.configure("migrate", chosen.log_level, chosen.log_format)
    with connections.database(chosen) as url:
        applied = schema.apply(url, chunk_h=chosen.chunk_hours)
        district.import_defaults(url, parse_rules=to_rows)
        if chosen.database_owner_url:
            services.ensure(url, chosen.database_url)
    _say(as_json, {"applied": applied}, f"applied {', '.join(applied) if applied else 'nothing: up to date'}")


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(help="Folder in the CITY_CONFIG format.")], as_json: AsJson = False
) -> None:
    """导入 · Take a district's own files (areas, devices, stations, units, rules) into the database."""
    from city import district
    from city.storage import migrate as schema
    from command_centre.rule_changes import check_imported
    from rules.definitions import to_rows
    from runtime import connections

    with connections.database(settings.load()) as url:
        schema.apply(url)
        report = district.import_folder(url, folder, parse_rules=to_rows, check_rules=check_imported)
    done = "unchanged, nothing to do" if report.unchanged else f"imported {folder}"
    _say(as_json, report.as_dict(), "\n".join([*report.warnings, done]))


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder to write; created when missing.")],
    as_json: AsJson = False,
) -> None:
    """导出 · Write the district as it is now into a folder that `city import` reads."""
    from city import district
    from rules.writing import to_toml
    from runtime import connections

    with connections.database(settings.load()) as url:
        files = district.export_folder(url, folder, write_rules=to_toml)
    _say(as_json, {"files": files}, f"wrote {', '.join(files)} to {folder}")


@app.command()
def password(
    name: Annotated[str, typer.Argument(help="The account, as it is typed to log in.")],
    create: Annotated[bool, typer.Option("--create", help="Make the account; it must not exist.")] = False,
    role: Annotated[Role, typer.Option(help="Of the account that is made.")] = Role.VIEWER,
    unit: Annotated[str, typer.Option(help="Code of the unit that a handler acts for.")] = "",
    no_second_factor: Annotated[
        bool, typer.Option("--no-second-factor", help="Take a lost second factor away too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """密码 · A new one-time secret for an account, printed this once; whoever is logged in with it is logged out."""
    from city.storage import migrate as schema
    from command_centre import accounts
    from runtime import connections

    chosen = settings.load()
    with connections.database(chosen) as url:
        if missing := schema.missing(url):
            raise CityError(f"the database lacks {len(missing)} migrations; run `city migrate` first")
        done = accounts.reset(
            url,
            name,
            actor="command-line",
            create=create,
            role=role.value,
            unit=unit,
            no_second_factor=no_second_factor,
            lasts=chosen.first_secret_lasts,
        )
    disabled = "; the account is disabled, an administrator has to enable it" if done.user.disabled else ""
    _say(
        as_json,
        {
            "name": name,
            "role": done.user.role,
            "one_time_secret": done.secret,
            "disabled": done.user.disabled,
        },
        f"{name} ({done.user.role}): {done.secret}\n"
        f"one-time, good for {chosen.first_secret_hours:g} h: the first log-in asks for a password{disabled}",
    )


def _worker(name: str) -> Settings:
    """Settings of a long-running process with its addresses found and its log set up."""
    from runtime import connections

    return connections.complete(_settings_of(name))


def _settings_of(name: str) -> Settings:
    """The same of a process that needs no database."""
    chosen = settings.load()
    logs.configure(name, chosen.log_level, chosen.log_format)
    return chosen


def _manager() -> ServiceManager:
    """systemd, when it started us; whom we start does not speak with it."""
    said = {name: os.environ.pop(name, "") for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")}
    return service_manager.from_words(
        said["NOTIFY_SOCKET"], said["WATCHDOG_USEC"], said["WATCHDOG_PID"], os.getpid()
    )


def _pairs(option: str, given: list[str]) -> dict[str, str]:
    pairs = dict(one.split("=", 1) for one in given if "=" in one)
    if len(pairs) != len(given):
        raise CityError(f"{option} = {given}: write COLUMN=METRIC, each column once")
    return pairs


def _say(as_json: bool, result: object, text: str) -> None:
    if as_json:
        print(json.dumps(result, ensure_ascii=False, default=str))  # noqa: T201 - a script reads this
    else:
        Console().print(text, highlight=False, soft_wrap=True)


def main() -> None:
    """Entry point of the console command."""
    try:
        app()
    except (CityError, SettingsError) as error:
        sys.stderr.write(f"city: {error}\n")
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left; do not trip at exit
        sys.exit(1)


if __name__ == "__main__":
    main()
