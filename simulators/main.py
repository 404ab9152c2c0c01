"""``city simulate``: wires settings, folder and scenario to a player and stops it when told to."""

import threading
from collections.abc import Sequence
from pathlib import Path

import structlog

from city.settings import Settings
from simulators.district import generate
from simulators.fleet import Device, FolderError, read_fleet
from simulators.player import Player
from simulators.scenarios import compose
from simulators.signals import stopped_by_signals

log = structlog.get_logger("simulators")


def run(
    settings: Settings,
    scenario: str,
    *,
    mqtt_url: str | None = None,
    folder: Path | None = None,
    speed: float = 1.0,
    duration_s: float | None = None,
    cells: Sequence[str] = (),
    seed: int = 20261121,
    stop: threading.Event | None = None,
) -> int:
    """Play until SIGTERM, SIGINT, `stop`, or `duration_s` of the clock; returns the process's exit code.

    ``cells`` plays the devices in these cells only, for a drill beside real devices. The answer is
    0 played; 2 the scenario, the folder or a number cannot be used (one log line says which and what to do).
    The demonstration district is generated when no folder is named and none is there yet. A broker that is
    away is waited for.
    """
    stop = stop or threading.Event()
    if speed <= 0:
        log.error("simulate.refused", reason=f"speed = {speed}: must be above 0")
        return 2
    try:
        place = _folder(settings, folder)
        fleet = chosen_fleet(place, cells)
        composed = compose(scenario, fleet, seed)
    except (FolderError, ValueError, OSError) as error:
        log.error("simulate.refused", reason=str(error))
        return 2
    url = mqtt_url or settings.mqtt_url or f"mqtt://127.0.0.1:{settings.mqtt_port}"
    player = Player(scenario=composed, fleet=fleet, url=url, speed=speed, cells=frozenset(cells))
    log.info("simulate.started", scenario=scenario, devices=len(fleet), folder=str(place), speed=speed)
    with stopped_by_signals(stop):
        player.play(stop, duration_s)
    log.info(
        "simulate.ended", published=player.published, acknowledged=player.acknowledged, dropped=player.dropped
    )
    return 0


def chosen_fleet(folder: Path, cells: Sequence[str]) -> list[Device]:
    """The devices that are played: all of the folder, or those in these cells. Raises FolderError."""
    fleet = read_fleet(folder)
    known = {device.cell for device in fleet}
    for cell in cells:
        if cell not in known:
            raise FolderError(
                f"cell = {cell!r}: {folder} has no device to play there; see cells in devices.csv"
            )
    return [device for device in fleet if not cells or device.cell in cells]


def _folder(settings: Settings, folder: Path | None) -> Path:
    named = folder or settings.config
    if named is not None:
        return named
    built = settings.data_dir / "district"
    if not (built / "devices.csv").exists():
        generate(built)
    return built
