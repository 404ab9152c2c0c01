"""``city simulate``: scenarios played over MQTT, and a fleet of up to millions without connections."""
# ruff: noqa: PLC0415 - as in runtime.cli: `city --help` must not wait for numpy

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from city import logs, settings
from city.errors import CityError
from city.settings import Settings

if TYPE_CHECKING:
    from runtime.fleet import Cost

FLEET = "fleet"
SIZES = (10_000, 100_000)  # beside the size that is asked for, so that a line can be read
_OF_FLEET = "Of `city simulate fleet`"


def simulate(
    scenario: Annotated[
        str, typer.Argument(help="calm, demo, fire, storm, outage, flap, flood-of-alarms; or fleet")
    ],
    speed: Annotated[float, typer.Option(help="How many times faster than life.", min=0.01)] = 1.0,
    duration: Annotated[float | None, typer.Option(help="Stop after so many seconds.", min=0)] = None,
    seed: Annotated[int | None, typer.Option(help="Another number, another play.")] = None,
    cell: Annotated[
        list[str] | None, typer.Option(help="Play the devices of this cell only; once for each.")
    ] = None,
    drill: Annotated[bool, typer.Option("--drill", help="Mark all of it as exercise, end to end.")] = False,
    drill_minutes: Annotated[
        float, typer.Option(help="A drill ends by itself after so long.", min=1, max=480)
    ] = 60,
    reason: Annotated[str, typer.Option(help="Of the drill, on its record.")] = "",
    devices: Annotated[
        list[int] | None,
        typer.Option(
            help="How many; once for each size. Alone, it is measured beside 10,000 and 100,000.",
            min=20,
            max=10_000_000,
            rich_help_panel=_OF_FLEET,
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option(help="Readings of each device.", min=2, rich_help_panel=_OF_FLEET)
    ] = 4,
    partitions: Annotated[
        int,
        typer.Option(
            help="Read as a worker of several machines reads: from a log in so many partitions, all of them its own."
            " 0 = one pipeline.",
            min=0,
            max=200,
            rich_help_panel=_OF_FLEET,
        ),
    ] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a size.", rich_help_panel=_OF_FLEET)
    ] = False,
) -> None:
    """模拟 · Play a scenario with simulated devices against the broker; or `fleet`: what a million devices cost.

    `fleet` drives as many distinct devices as are asked for through decode, rules and commit, without connections,
    into a database of its own beside the real one, and says bytes a device and nanoseconds a reading;
    with `--partitions` as a worker of several machines does it.
    """
    chosen = settings.load()
    logs.configure("simulate", "warning" if scenario == FLEET else chosen.log_level, chosen.log_format)
    if scenario == FLEET:
        _fleet(chosen, devices or [1_000_000], rounds, partitions, as_json=as_json)
        return
    more: dict[str, Any] = {} if seed is None else {"seed": seed}
    more |= {"speed": speed, "duration_s": duration, "cells": cell or []}
    raise typer.Exit(_play(chosen, scenario, more, (drill_minutes, reason) if drill else None))


def _play(chosen: Settings, scenario: str, more: dict[str, Any], drill: tuple[float, str] | None) -> int:
    """The exit code of a scenario played; ``drill``: minutes and reason, None = it is none."""
    from runtime import connections, simulators_there

    folder = chosen.config or chosen.data_dir / "district"
    if not folder.exists():
        raise CityError(f"{folder}: no district to simulate; run `city up` once, or set CITY_CONFIG")
    with simulators_there.asked("a simulation"):
        from simulators import main as room

    broker = connections.broker(chosen)
    if drill is None:
        return room.run(chosen, scenario, mqtt_url=broker, folder=folder, **more)
    from runtime import drill as drills

    minutes, reason = drill
    wanted = drills.Wanted(
        scenario=scenario, folder=folder, cells=more["cells"], minutes=minutes, reason=reason
    )
    with drills.running(connections.complete(chosen), wanted):
        return room.run(chosen, scenario, mqtt_url=broker, folder=folder, **more)


def _fleet(chosen: Settings, devices: list[int], rounds: int, partitions: int, *, as_json: bool) -> None:
    from runtime import connections, fleet

    sizes = devices if len(devices) > 1 else [*(size for size in SIZES if size < devices[0]), devices[0]]
    told = Console(stderr=True)
    wanted = fleet.Wanted(devices=0, rounds=rounds, partitions=partitions)
    costs: list[Cost] = []
    with connections.database(chosen) as url:
        for cost in fleet.measure(url, sizes, wanted, lambda said: told.print(said, highlight=False)):
            costs.append(cost)
            if as_json:
                print(json.dumps(asdict(cost)), flush=True)  # noqa: T201 - a script reads this
    if not as_json:
        Console().print(_table(costs))


_ROWS = (
    ("partitions, 0 = one pipeline", "partitions"),
    ("decode, ns a reading", "decode_ns"),
    ("rules, ns a reading", "rules_ns"),
    ("commit here, ns a reading", "commit_ns"),
    ("database server, ns a reading", "database_ns"),
    ("a last arrival written, us", "presence_us"),
    ("a tick of the clock, ms", "tick_ms"),
    ("register read at start, s", "load_s"),
    ("taken over with its readings, s", "restart_cpu_s"),
    ("memory a device once loaded, bytes", "bytes_loaded"),
    ("memory a device after all rounds, bytes", "bytes_held"),
    ("memory a device at the peak of loading, bytes", "bytes_peak"),
    ("disk a reading, bytes", "disk_bytes"),
    ("of that primary key, bytes", "index_bytes"),
    ("write-ahead log a reading, bytes", "wal_bytes"),
    ("rule state a device in the database, bytes", "state_bytes"),
    ("register a device in the database, bytes", "register_bytes"),
    ("readings stored", "stored"),
    ("alarms raised and cleared", "transitions"),
)


def _table(costs: "list[Cost]") -> Table:
    table = Table("processor time, memory, disk", *(f"{cost.devices:,} devices" for cost in costs))
    for title, name in _ROWS:
        values = [getattr(cost, name) for cost in costs]
        table.add_row(title, *("-" if value is None else f"{value:,}" for value in values))
    return table
