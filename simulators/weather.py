"""What happens to the devices, as pure functions of device and time: calm, fire, storm, outage, and so on.

Time is seconds since the scenario began. A process adds to what a device would say in calm, makes it silent,
or lets a camera see something. Nothing here reads a clock or draws a number: the same question has the same
answer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import cos, exp, hypot, radians, sin, tau

import numpy as np

from simulators.fleet import Device
from simulators.ground import METRES_PER_DEGREE, Floats

CALM_SMOKE_MAX = 30.0  # per cent of the detector's scale; nothing calm comes near a limit


@dataclass(frozen=True, kw_only=True)
class Detection:
    """One message of a camera: `state` is new, update or end of the object `identity`; score 0 to 1."""

    camera: Device
    at: float
    event: str
    score: float
    identity: str
    state: str
    zone: str


class Process:
    """Nothing happens. The kinds of trouble below say what is different."""

    def smoke(self, device: Device, t: float) -> float:
        """Per cent added to the detector's calm value."""
        return 0.0

    def level(self, device: Device, t: float) -> float:
        """Metres added to the station's calm level."""
        return 0.0

    def rain(self, t: float) -> float:
        """Millimetres an hour over the whole district."""
        return 0.0

    def silent(self, device: Device, t: float) -> bool:
        """Whether nothing can be heard of the device."""
        return False

    def urgent(self, t: float) -> Iterable[Device]:
        """Devices that report every few seconds now, since what they measure is moving."""
        return ()

    def detections(self, start: float, end: float) -> Iterable[Detection]:
        """What cameras say in start <= t < end."""
        return ()


def noise(salt: int, t: float, period: float) -> float:
    """Smooth noise in [-1, 1], the same for the same salt and time; knots every `period` seconds."""
    position = t / period
    knot = int(position // 1)
    share = position - knot
    return _knot(salt, knot) * (1 - share) + _knot(salt, knot + 1) * share


def _knot(salt: int, number: int) -> float:
    """A scrambled number in [-1, 1] (multiplication and shifts, as in a hash's finaliser)."""
    x = (salt * 0x9E3779B1 + number * 0x85EBCA77) & 0xFFFFFFFF
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    x = ((x ^ (x >> 15)) * 0x846CA68B) & 0xFFFFFFFF
    return (x ^ (x >> 16)) / 0x7FFFFFFF - 1


def calm_smoke(device: Device, t: float) -> float:
    """A detector's own level and its drift, per cent; below CALM_SMOKE_MAX."""
    own = 4 + device.salt % 90 / 10
    return max(0.0, own + 3 * noise(device.salt, t, 1800) + 1.5 * noise(device.salt + 1, t, 30))


def calm_level(device: Device, t: float) -> float:
    """A station's ordinary water, metres: well below its warning level, with a slow swing and ripples."""
    shares = {"river": 0.45, "culvert": 0.25, "underpass": 0.1, "road": 0.1, "reservoir": 0.85}
    full = shares.get(device.station_kind, 0.4)
    warning = device.warning_m if device.warning_m is not None else 2.0
    room = max(0.1, (device.guaranteed_m or warning * 1.3) - warning)
    swing = 0.08 * sin(tau * (t / 44_700 + device.salt % 100 / 100))
    ripple = 0.02 * noise(device.salt, t, 20)
    return max(0.0, full * warning + room * (swing + ripple))


def pulse(t: float, *, start: float, rise: float) -> float:
    """A wave that begins at `start`, is 1 after `rise` seconds and runs off about three times as slowly."""
    x = (t - start) / rise
    return (x * exp(1 - x)) ** 2 if x > 0 else 0.0


def metres_between(a: Device | tuple[float, float], b: Device) -> float:
    """Distance on the ground; good for a district's size."""
    lon, lat = (a.lon, a.lat) if isinstance(a, Device) else a
    north = (b.lat - lat) * METRES_PER_DEGREE
    return hypot((b.lon - lon) * METRES_PER_DEGREE * cos(radians(lat)), north)


class Background(Process):
    """Everyday life: some devices never heard, and cameras that now and then half see something."""

    def __init__(self, devices: Sequence[Device], *, absent: Iterable[str]) -> None:
        self._absent = frozenset(absent)
        self._cameras = [d for d in devices if d.kind == "camera" and d.code not in self._absent]

    def silent(self, device: Device, t: float) -> bool:
        return device.code in self._absent

    def detections(self, start: float, end: float) -> Iterable[Detection]:
        """Every 20 s one camera is unsure: scores of 0.15 to 0.40, below what any rule should heed."""
        if not self._cameras:
            return
        for number in _steps(start, end, 20):
            chance = (_knot(7919, number) + 1) / 2
            camera = self._cameras[int(chance * (len(self._cameras) - 1))]
            score = round(0.275 + 0.125 * _knot(camera.salt, number), 2)
            event = ("person", "smoke", "fire")[number % 3]
            yield Detection(
                camera=camera,
                at=number * 20.0,
                event=event,
                score=score,
                identity=f"b{number}",
                state="new",
                zone="street",
            )


class Fire(Process):
    """Smoke that grows at one place and drifts outward, later and thinner with distance, then clears."""

    def __init__(
        self,
        devices: Sequence[Device],
        *,
        place: tuple[float, float],
        start: float,
        growth_s: float,
        hold_s: float,
        decay_s: float,
        radius_m: float,
        peak: float,
    ) -> None:
        self._start, self._growth, self._hold, self._decay = start, growth_s, hold_s, decay_s
        self._peak = peak
        reach = {d.code: (d, metres_between(place, d)) for d in devices if d.kind == "smoke"}
        self._near = {code: (d, away) for code, (d, away) in reach.items() if away < 2.2 * radius_m}
        self._radius = radius_m

    def smoke(self, device: Device, t: float) -> float:
        found = self._near.get(device.code)
        if found is None:
            return 0.0
        away = found[1]
        thinned = exp(-((away / self._radius) ** 2))
        return self._peak * thinned * self._strength(t - self._start - away / 5)  # smoke drifts at 5 m/s

    def _strength(self, age: float) -> float:
        if age <= 0:
            return 0.0
        burning = self._growth + self._hold
        x = min(1.0, age / self._growth) if age <= burning else max(0.0, 1 - (age - burning) / self._decay)
        return x * x * (3 - 2 * x)

    def urgent(self, t: float) -> Iterable[Device]:
        return (d for d, _ in self._near.values() if self.smoke(d, t) > 3)


class Sighting(Process):
    """A camera follows one object: new, an update every five seconds, end."""

    def __init__(
        self,
        camera: Device,
        *,
        event: str,
        score: float,
        start: float,
        duration_s: float,
        zone: str,
        identity: str,
    ) -> None:
        steps = max(1, int(duration_s // 5))
        states = ["new", *["update"] * (steps - 1), "end"]
        self._said = [
            Detection(
                camera=camera,
                at=start + 5 * i,
                event=event,
                score=round(min(0.99, max(0.05, score + 0.04 * _knot(camera.salt, i))), 2),
                identity=identity,
                state=state,
                zone=zone,
            )
            for i, state in enumerate(states)
        ]

    def detections(self, start: float, end: float) -> Iterable[Detection]:
        return [said for said in self._said if start <= said.at < end]


class Rise(Process):
    """One station's water rises by a wave and falls again."""

    def __init__(self, station: Device, *, start: float, rise_s: float, metres: float) -> None:
        self._station, self._start, self._rise, self._metres = station, start, rise_s, metres

    def level(self, device: Device, t: float) -> float:
        if device.code != self._station.code:
            return 0.0
        return self._metres * pulse(t, start=self._start, rise=self._rise)

    def urgent(self, t: float) -> Iterable[Device]:
        return [self._station] if self.level(self._station, t) > 0.05 * self._metres else []


class Storm(Process):
    """Rain over everything; each station gets its own runoff and, later, what its upstream station had.

    An hour of the river's travel passes in a minute, so that the wave can be watched going down the network.
    Curves are worked out once, one value a second.
    """

    LENGTH_S = 1800

    def __init__(self, stations: Sequence[Device], *, start: float) -> None:
        self._start = start
        self._stations = [s for s in stations if s.kind == "water"]
        by_code = {s.code: s for s in self._stations}
        shapes: dict[str, Floats] = {}
        for station in self._stations:
            _route(station, by_code, shapes)
        self._curves = {s.code: shapes[s.code] * _storm_rise(s) for s in self._stations}

    def rain(self, t: float) -> float:
        return 62.0 * pulse(t, start=self._start, rise=70) * (1 + 0.15 * noise(31, t, 6))

    def level(self, device: Device, t: float) -> float:
        curve = self._curves.get(device.code)
        age = t - self._start
        if curve is None or not 0 <= age < self.LENGTH_S - 1:
            return 0.0
        second = int(age)
        before, after = float(curve[second]), float(curve[second + 1])
        value = before + (after - before) * (age - second)
        return value * (1 + 0.01 * noise(device.salt + 5, t, 7))

    def urgent(self, t: float) -> Iterable[Device]:
        return self._stations if 0 <= t - self._start < 900 else ()


def _route(station: Device, by_code: Mapping[str, Device], shapes: dict[str, Floats]) -> Floats:
    """The station's wave with peak 1: own runoff and its upstream's wave, delayed by the travel time."""
    found = shapes.get(station.code)
    if found is not None:
        return found
    seconds = np.arange(Storm.LENGTH_S, dtype=np.float64)
    rise = {"culvert": 110, "underpass": 95, "road": 95, "reservoir": 230}.get(station.station_kind, 150)
    x = np.maximum(0.0, (seconds - 8 - station.salt % 12) / rise)
    wave = np.asarray((x * np.exp(1 - x)) ** 2, dtype=np.float64)
    shapes[station.code] = wave  # stands in while upstream is walked, so that a circle in the file ends
    upstream = by_code.get(station.upstream)
    if upstream is not None:
        delay = max(1, round(station.travel_min))
        # A reservoir holds its water back; a river passes most of it on.
        carried = 0.15 if upstream.station_kind == "reservoir" else 0.85
        wave = (1 - carried) * wave
        wave[delay:] += carried * _route(upstream, by_code, shapes)[:-delay]
        wave /= wave.max()
        shapes[station.code] = wave
    return wave


def _storm_rise(station: Device) -> float:
    """Metres at the peak. About one station in four passes its guaranteed level, most the warning level."""
    calm = calm_level(station, 0.0)
    warning = station.warning_m if station.warning_m is not None else calm + 1.0
    guaranteed = station.guaranteed_m if station.guaranteed_m is not None else warning + 0.5
    share = (station.salt >> 8) % 100 / 100
    summit = warning + (guaranteed - warning) * (1.6 * share - 0.15)
    return max(0.0, summit - calm)


class Outage(Process):
    """A gateway and everything behind it go silent, and come back at `end`."""

    def __init__(self, gateway: Device, *, start: float, end: float) -> None:
        self.gateway = gateway
        self._start, self._end = start, end

    def silent(self, device: Device, t: float) -> bool:
        behind = self.gateway.code in (device.code, device.gateway)
        return behind and self._start <= t < self._end


class Flap(Process):
    """Values that dither about their limit: detectors at 70 per cent, stations at their warning level."""

    def __init__(self, devices: Sequence[Device], *, start: float) -> None:
        self._devices = {d.code: d for d in devices}
        self._start = start

    def smoke(self, device: Device, t: float) -> float:
        if device.code not in self._devices or t < self._start:
            return 0.0
        # Every other one swings through raise and clear limits, the rest stay within the deadband.
        swing = 14 if device.salt % 2 else 6
        return 69 + swing * noise(device.salt + 3, t, 7) - calm_smoke(device, t)

    def level(self, device: Device, t: float) -> float:
        if device.code not in self._devices or device.warning_m is None or t < self._start:
            return 0.0
        return device.warning_m + 0.04 * noise(device.salt + 3, t, 7) - calm_level(device, t)

    def urgent(self, t: float) -> Iterable[Device]:
        return self._devices.values() if t >= self._start else ()


class Surge(Process):
    """Hundreds of detectors alarm within a minute, each at a moment of its own, for two minutes."""

    def __init__(self, devices: Sequence[Device], *, start: float, within_s: float) -> None:
        self._onset = {d.code: (d, start + within_s * (_knot(d.salt, 1) + 1) / 2) for d in devices}

    def smoke(self, device: Device, t: float) -> float:
        found = self._onset.get(device.code)
        if found is None:
            return 0.0
        age = t - found[1]
        if not 0 <= age < 150:
            return 0.0
        return (72 + 10 * (_knot(device.salt, 2) + 1)) * min(1.0, age / 4, (150 - age) / 30)

    def urgent(self, t: float) -> Iterable[Device]:
        return (d for d, onset in self._onset.values() if 0 <= t - onset < 155)


def _steps(start: float, end: float, every: float) -> range:
    """Whole numbers n with start <= n * every < end."""
    first, stop = int(-(-start // every)), int(-(-end // every))
    return range(max(0, first), max(0, stop))
