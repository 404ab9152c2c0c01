"""The scenarios by name: which processes play together, and how often which kind reports.

A scenario answers for the whole fleet what the processes answer for their part. Pure, as they are.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from simulators.fleet import Device
from simulators.weather import (
    Background,
    Detection,
    Fire,
    Flap,
    Outage,
    Process,
    Rise,
    Sighting,
    Storm,
    Surge,
    calm_level,
    calm_smoke,
    metres_between,
)

URGENT_INTERVAL_S = 3.0


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """`intervals` replaces, by kind, the interval in seconds that the register gives."""

    name: str
    processes: tuple[Process, ...]
    intervals: dict[str, float] = field(default_factory=dict)

    def smoke(self, device: Device, t: float) -> float:
        """The detector's reading, 0 to 100 per cent."""
        value = calm_smoke(device, t) + sum(process.smoke(device, t) for process in self.processes)
        return min(100.0, max(0.0, value))

    def level(self, device: Device, t: float) -> float:
        """The station's reading in metres above its datum."""
        return max(0.0, calm_level(device, t) + sum(process.level(device, t) for process in self.processes))

    def rain(self, t: float) -> float:
        """Millimetres an hour."""
        return sum(process.rain(t) for process in self.processes)

    def silent(self, device: Device, t: float) -> bool:
        return any(process.silent(device, t) for process in self.processes)

    def urgent(self, t: float) -> Iterable[Device]:
        """Devices that report every URGENT_INTERVAL_S now."""
        return (device for process in self.processes for device in process.urgent(t))

    def detections(self, start: float, end: float) -> Iterable[Detection]:
        """What the cameras that can be heard say in start <= t < end."""
        said = (detection for process in self.processes for detection in process.detections(start, end))
        return (detection for detection in said if not self.silent(detection.camera, detection.at))

    def interval(self, device: Device) -> float:
        """Seconds between two reports of the device in calm."""
        return self.intervals.get(device.kind, device.interval_s)

    def outages(self) -> list[Outage]:
        """Gateways that speak over a connection of their own, which the outage cuts."""
        return [process for process in self.processes if isinstance(process, Outage)]


def compose(name: str, devices: Sequence[Device], seed: int) -> Scenario:
    """The named scenario for this fleet. Raises ValueError for an unknown name or a fleet too small."""
    builders: dict[str, Callable[[Sequence[Device], np.random.Generator], Scenario]] = {
        "calm": _calm,
        "demo": _demo,
        "fire": _fire,
        "storm": _storm,
        "outage": _outage,
        "flap": _flap,
        "flood-of-alarms": _flood_of_alarms,
    }
    if name not in builders:
        raise ValueError(f"scenario {name!r} is unknown; choose one of {', '.join(builders)}")
    return builders[name](devices, np.random.default_rng(seed))


def _background(devices: Sequence[Device], rng: np.random.Generator) -> Background:
    """A few devices have never been heard: one detector in 1,500, one camera in 400."""
    absent = []
    for kind, share in (("smoke", 1500), ("camera", 400)):
        codes = [d.code for d in devices if d.kind == kind]
        absent += (
            [str(code) for code in rng.choice(codes, len(codes) // share, replace=False)] if codes else []
        )
    return Background(devices, absent=absent)


def _calm(devices: Sequence[Device], rng: np.random.Generator) -> Scenario:
    return Scenario(name="calm", processes=(_background(devices, rng),))


def _fire(devices: Sequence[Device], rng: np.random.Generator) -> Scenario:
    background = _background(devices, rng)
    place, camera = _fire_place(devices, rng, background)
    fire = Fire(
        devices,
        place=(place.lon, place.lat),
        start=5,
        growth_s=50,
        hold_s=200,
        decay_s=150,
        radius_m=460,
        peak=97,
    )
    processes: list[Process] = [background, fire]
    if camera is not None:
        processes += [
            Sighting(
                camera, event="smoke", score=0.74, start=25, duration_s=30, zone="roof", identity="smoke-1"
            ),
            Sighting(
                camera, event="fire", score=0.92, start=40, duration_s=200, zone="roof", identity="fire-1"
            ),
        ]
    return Scenario(name="fire", processes=tuple(processes), intervals={"water": 30.0})


def _fire_place(
    devices: Sequence[Device], rng: np.random.Generator, background: Background
) -> tuple[Device, Device | None]:
    """A detector in one of the densest cells, and the camera that sees it: the nearest within 500 m."""
    detectors = _need(devices, "smoke", 1)
    counts: dict[str, int] = {}
    for detector in detectors:
        counts[detector.cell] = counts.get(detector.cell, 0) + 1
    dense = sorted(counts, key=lambda cell: (-counts[cell], cell))[:20]
    cameras = [d for d in devices if d.kind == "camera" and not background.silent(d, 0)]
    cell = dense[int(rng.integers(len(dense)))]
    place = next(d for d in detectors if d.cell == cell and not background.silent(d, 0))
    nearest = min(cameras, key=lambda camera: metres_between(place, camera), default=None)
    if nearest is not None and metres_between(place, nearest) > 500:
        nearest = None
    return place, nearest


def _storm(devices: Sequence[Device], rng: np.random.Generator) -> Scenario:
    stations = _need(devices, "water", 1)
    processes = (_background(devices, rng), Storm(stations, start=5))
    return Scenario(name="storm", processes=processes, intervals={"water": 10.0, "rain": 10.0})


def _outage(devices: Sequence[Device], rng: np.random.Generator) -> Scenario:
    gateways = _need(devices, "gateway", 1)
    chosen = gateways[int(rng.integers(len(gateways)))]
    # Long enough for silence to be noticed at any expected interval the demonstration district has.
    return Scenario(name="outage", processes=(_background(devices, rng), Outage(chosen, start=20, end=920)))


def _flap(devices: Sequence[Device], rng: np.random.Generator) -> Scenario:
    background = _background(devices, rng)
    detectors = [d for d in _need(devices, "smoke", 1) if not background.silent(d, 0)]
    chosen = [detectors[int(i)] for i in rng.choice(len(detectors), min(6, len(detectors)), replace=False)]
    chosen += [d for d in devices if d.kind == "water" and d.warning_m is not None][:2]
    return Scenario(name="flap", processes=(background, Flap(chosen, start=10)))


def _flood_of_alarms(devices: Sequence[Device], rng: np.random.Generator) -> Scenario:
    background = _background(devices, rng)
    detectors = [d for d in _need(devices, "smoke", 1) if not background.silent(d, 0)]
    chosen = [detectors[int(i)] for i in rng.choice(len(detectors), min(400, len(detectors)), replace=False)]
    return Scenario(name="flood-of-alarms", processes=(background, Surge(chosen, start=10, within_s=50)))


class Episodes(Process):
    """Small troubles without end, one every EVERY_S: a fire in a room, a person at a gate, a full culvert."""

    EVERY_S = 240.0
    FIRST_S = 8.0

    def __init__(self, devices: Sequence[Device], background: Background, seed: int) -> None:
        heard = [d for d in devices if not background.silent(d, 0)]
        self._detectors = [d for d in heard if d.kind == "smoke"]
        self._cameras = [d for d in heard if d.kind == "camera"]
        self._culverts = [d for d in heard if d.station_kind == "culvert" and d.warning_m is not None]
        self._seed = seed
        self.built: dict[int, Process] = {}

    def _around(self, start: float, end: float) -> list[Process]:
        """Episodes that may have a say between the two times: an episode lasts less than two slots."""
        last = int((end - self.FIRST_S) // self.EVERY_S)
        first = int((start - self.FIRST_S) // self.EVERY_S) - 1
        for number in [n for n in self.built if n < first]:
            del self.built[number]
        return [self._episode(number) for number in range(max(0, first), last + 1)]

    def _episode(self, number: int) -> Process:
        if number not in self.built:
            self.built[number] = self._build(number)
        return self.built[number]

    def _build(self, number: int) -> Process:
        """Derived from seed and number alone, so that it is the same whenever it is asked for."""
        rng = np.random.default_rng([self._seed, number])
        start = self.FIRST_S + number * self.EVERY_S + (float(rng.uniform(0, 40)) if number else 0.0)
        kind = ("fire", "person", "culvert")[number % 3]
        if kind == "fire" and self._detectors:
            source = self._detectors[int(rng.integers(len(self._detectors)))]
            place = (source.lon, source.lat)
            return Fire(
                [source], place=place, start=start, growth_s=22, hold_s=70, decay_s=60, radius_m=60, peak=84
            )
        if kind == "culvert" and self._culverts:
            station = self._culverts[int(rng.integers(len(self._culverts)))]
            warning = station.warning_m or 0.0
            room = (station.guaranteed_m or warning * 1.3) - warning
            metres = warning + 0.35 * room - calm_level(station, start)
            return Rise(station, start=start, rise_s=70, metres=metres)
        if self._cameras:
            camera = self._cameras[int(rng.integers(len(self._cameras)))]
            return Sighting(
                camera,
                event="person",
                score=0.9,
                start=start,
                duration_s=25,
                zone="gate",
                identity=f"p{number}",
            )
        return Process()

    def smoke(self, device: Device, t: float) -> float:
        return sum(episode.smoke(device, t) for episode in self._around(t, t))

    def level(self, device: Device, t: float) -> float:
        return sum(episode.level(device, t) for episode in self._around(t, t))

    def urgent(self, t: float) -> Iterable[Device]:
        return [device for episode in self._around(t, t) for device in episode.urgent(t)]

    def detections(self, start: float, end: float) -> Iterable[Detection]:
        return [said for episode in self._around(start, end) for said in episode.detections(start, end)]


def _demo(devices: Sequence[Device], rng: np.random.Generator) -> Scenario:
    background = _background(devices, rng)
    episodes = Episodes(devices, background, int(rng.integers(2**31)))
    return Scenario(name="demo", processes=(background, episodes), intervals={"water": 12.0, "rain": 60.0})


def _need(devices: Sequence[Device], kind: str, count: int) -> list[Device]:
    found = [d for d in devices if d.kind == kind]
    if len(found) < count:
        raise ValueError(
            f"the district has {len(found)} devices of kind {kind!r}; this scenario needs {count}"
        )
    return found
