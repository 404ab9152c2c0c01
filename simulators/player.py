"""Plays a scenario through MQTT: who is due, what would it say now, publish.

The process's time runs `speed` times as fast as the clock; what is published carries the clock's own time, as
a device's would.
"""

import heapq
import json
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from simulators import turns
from simulators.fleet import Device
from simulators.line import Line
from simulators.scenarios import URGENT_INTERVAL_S, Scenario
from simulators.turns import Turns
from simulators.weather import Detection, Outage, noise

log = structlog.get_logger("simulators")

TICK_S = 0.1


@dataclass(kw_only=True)
class Player:
    """One run of a scenario.

    `play` waits for the broker, then returns when `stop` is set or `duration_s` of the clock have passed.
    """

    scenario: Scenario
    fleet: Sequence[Device]
    url: str
    speed: float = 1.0
    cells: frozenset[str] = turns.EVERYWHERE  # played alone: other players go on elsewhere
    published: int = 0
    acknowledged: int = 0
    dropped: int = 0
    _muted: bool = False
    _muted_cells: frozenset[str] = turns.EVERYWHERE
    _due: list[tuple[float, int]] = field(default_factory=list)
    _last: dict[str, float] = field(default_factory=dict)
    _seq: dict[str, int] = field(default_factory=dict)
    _own_lines: dict[str, Line] = field(default_factory=dict)

    def play(self, stop: threading.Event, duration_s: float | None) -> None:
        self._client_id = f"simulator-{secrets.token_hex(4)}"
        self._turns = Turns(self._client_id, time.time(), self.cells)
        line = Line(self.url, self._client_id, listen_to=turns.TOPIC, on_heard=self._turns.hear)
        for outage in self.scenario.outages():
            self._own_lines[outage.gateway.code] = self._gateway_line(outage)
        for number, device in enumerate(self.fleet):
            interval = self.scenario.interval(device)
            heapq.heappush(self._due, (device.salt % 10_000 / 10_000 * interval, number))
        try:
            # The scenario begins when the broker is there: a fire nobody could report is no demonstration.
            while not all(each.connected for each in (line, *self._own_lines.values())):
                if stop.wait(TICK_S):
                    return
            begun, before = time.monotonic(), 0.0
            while not stop.is_set():
                elapsed = time.monotonic() - begun
                if duration_s is not None and elapsed >= duration_s:
                    break
                t = elapsed * self.speed
                self._take_turns(line)
                self._tick(line, before, t)
                before = t
                stop.wait(TICK_S)
        finally:
            for each in [line, *self._own_lines.values()]:
                each.close()
                self._count(each)

    def _take_turns(self, line: Line) -> None:
        """Say that we play; hold our tongue while somebody who began later does."""
        now = time.monotonic()
        announcement = self._turns.announcement(now)
        if announcement is not None:
            line.publish(turns.TOPIC, announcement)
        silent = self._turns.silent(now)
        if silent != self._muted:
            log.info("simulate.yielded" if silent else "simulate.resumed", to="a simulator that began later")
        self._muted = silent
        cells = self._turns.silent_cells(now)
        if cells != self._muted_cells:
            log.info("simulate.cells_yielded", cells=len(cells), to="a simulator that began later")
        self._muted_cells = cells

    def _has_the_word(self, device: Device) -> bool:
        return not self._muted and device.cell not in self._muted_cells

    def _tick(self, line: Line, before: float, t: float) -> None:
        self._switch_gateways(t)
        while self._due and self._due[0][0] <= t:
            due, number = heapq.heappop(self._due)
            device = self.fleet[number]
            interval = self.scenario.interval(device)
            # After a pause of ours a device goes on from now; it does not catch up what it never measured.
            heapq.heappush(self._due, (max(due + interval, t), number))
            self._report(line, device, t)
        for device in self.scenario.urgent(t):
            if t - self._last.get(device.code, -1e9) >= URGENT_INTERVAL_S:
                self._report(line, device, t)
        for detection in self.scenario.detections(before, t):
            if self._has_the_word(detection.camera):
                self._line(line, detection.camera).publish(detection.camera.topic, _detection(detection))

    def _report(self, line: Line, device: Device, t: float) -> None:
        if not self._has_the_word(device) or self.scenario.silent(device, t):
            return
        since = min(t - self._last.get(device.code, 0.0), self.scenario.interval(device))
        self._last[device.code] = t
        if device.kind in ("camera", "gateway"):
            self._line(line, device).publish(f"{device.topic}/status", b"online")
            return
        # Rising over restarts and from one player to the next, as a device's own counter would.
        seq = self._seq[device.code] = max(self._seq.get(device.code, 0) + 1, int(time.time()))
        self._line(line, device).publish(device.topic, self._reading(device, t, seq, since))

    def _reading(self, device: Device, t: float, seq: int, since: float) -> bytes:
        """The native payload of wire.md; every tenth report of a detector tells its battery too."""
        said: dict[str, object] = {"ts": time.time_ns() // 1_000_000}
        if device.kind == "water":
            said["metrics"] = {
                "level": round(self.scenario.level(device, t), 3),
                "rain": self._rain(t, since),
            }
        elif device.kind == "rain":
            said["value"] = self._rain(t, since)
        elif seq % 10 == device.salt % 10:
            smoke = self.scenario.smoke(device, t)
            battery = 60 + device.salt % 41
            warmth = 22 + 3 * noise(device.salt + 2, t, 900) + 0.3 * smoke * (smoke > 30)
            said["metrics"] = {"smoke": round(smoke, 1), "temperature": round(warmth, 1), "battery": battery}
        else:
            said["value"] = round(self.scenario.smoke(device, t), 1)
        said["seq"] = seq
        return json.dumps(said, separators=(",", ":")).encode()

    def _rain(self, t: float, since: float) -> float:
        """Millimetres in the `since` seconds from the device's last report until now."""
        return round(self.scenario.rain(t) * since / 3600, 2)

    def _line(self, line: Line, device: Device) -> Line:
        """The gateway's own connection where it has one, else the one all share."""
        return self._own_lines.get(device.gateway) or self._own_lines.get(device.code) or line

    def _gateway_line(self, outage: Outage) -> Line:
        gateway = outage.gateway
        return Line(self.url, f"{self._client_id}-{gateway.code}", will_topic=f"{gateway.topic}/status")

    def _switch_gateways(self, t: float) -> None:
        """Cut a gateway's connection when its outage begins; make a new one when it ends."""
        for outage in self.scenario.outages():
            code = outage.gateway.code
            away = self.scenario.silent(outage.gateway, t)
            if away and code in self._own_lines:
                log.info("gateway.lost", gateway=code)
                line = self._own_lines.pop(code)
                line.cut()
                self._count(line)
            elif not away and code not in self._own_lines:
                log.info("gateway.back", gateway=code)
                self._own_lines[code] = self._gateway_line(outage)

    def _count(self, line: Line) -> None:
        self.published += line.published
        self.acknowledged += line.acknowledged
        self.dropped += line.dropped


def _detection(detection: Detection) -> bytes:
    now = time.time_ns() // 1_000_000
    return json.dumps(
        {
            "ts": now,
            "event": detection.event,
            "score": detection.score,
            "id": f"{detection.camera.code}-{detection.identity}",
            "state": detection.state,
            "zone": detection.zone,
        },
        separators=(",", ":"),
    ).encode()
