"""How long from a reading beyond its limit to its incident: ``python -m bench.crossing`` beside a running product.

Publishes tries one after another, each of a new smoke detector, and waits for the incident in the API (with unit and
due time) and for its event on /ws/screen. Reads CITY_API_TOKEN; the addresses are options.
"""

import argparse
import asyncio
import json
import os
import statistics
import time

import httpx
import paho.mqtt.client as mqtt
import websockets
from paho.mqtt.enums import CallbackAPIVersion

PATIENCE_S = 10.0
LOOK_EVERY_S = 0.004


class Screen:
    """One screen that remembers when it saw which event."""

    def __init__(self, http: str) -> None:
        self._url = http.replace("http", "ws", 1) + "/ws/screen"
        self.seen: list[tuple[float, str, str]] = []

    async def watch(self) -> None:
        async with websockets.connect(self._url, max_size=None) as socket:
            async for frame in socket:
                told = json.loads(frame)
                if told["t"] != "hello":
                    await socket.send(json.dumps({"t": "ack", "seq": told["seq"]}))
                self.seen += [(time.time(), event["kind"], str(event["id"])) for event in told.get("ev", [])]

    async def event_of(self, incident: int, since: int) -> tuple[float, bool] | None:
        """When the incident's first event after position ``since`` was seen, and whether it was its opening."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for at, kind, key in self.seen[since:]:
                if kind.startswith("incident.") and key == str(incident):
                    return at, kind == "incident.opened"
            await asyncio.sleep(LOOK_EVERY_S)
        return None


async def incident_of(api: httpx.AsyncClient, device: str) -> dict[str, object] | None:
    """The incident that the device's alarm became; None after ten seconds."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        alarms = (await api.get("/api/alarms", params={"state": "all", "device": device})).json()["items"]
        if alarms and alarms[0]["incident"]:
            answer: dict[str, object] = (await api.get(f"/api/incidents/{alarms[0]['incident']}")).json()
            return answer
        await asyncio.sleep(LOOK_EVERY_S)
    return None


def told(name: str, seconds: list[float]) -> None:
    """One line of a distribution, milliseconds."""
    ordered = [1000 * second for second in sorted(seconds)] or [float("nan")]
    middle, p99 = statistics.median(ordered), ordered[int(len(ordered) * 0.99)]
    print(f"{name}: n={len(seconds)} median {middle:.0f} ms p99 {p99:.0f} ms max {ordered[-1]:.0f} ms")


async def measure(http: str, broker_port: int, tries: int) -> None:
    publisher = mqtt.Client(CallbackAPIVersion.VERSION2)
    publisher.connect("127.0.0.1", broker_port)
    publisher.loop_start()
    screen = Screen(http)
    watching = asyncio.create_task(screen.watch())
    await asyncio.sleep(1)
    in_api: list[float] = []
    on_screen: list[float] = []
    opened = complete = 0
    headers = {"Authorization": f"Bearer {os.environ['CITY_API_TOKEN']}"}
    async with httpx.AsyncClient(base_url=http, headers=headers) as api:
        cells = [cell["code"] for cell in (await api.get("/api/cells?limit=500")).json()["items"]]
        for number in range(tries):
            device, since, begun = f"try-{time.time_ns():x}", len(screen.seen), time.time()
            payload = {"ts": int(begun * 1000), "value": 88.0, "seq": number}
            topic = f"city/{cells[number * 37 % len(cells)]}/smoke/{device}"
            publisher.publish(topic, json.dumps(payload), qos=1)
            incident = await incident_of(api, device)
            if incident is None:
                continue
            in_api.append(time.time() - begun)
            complete += bool(incident["unit"] and incident["due_at"])
            event = await screen.event_of(int(str(incident["id"])), since)
            if event is not None:
                on_screen.append(event[0] - begun)
                opened += event[1]
            await asyncio.sleep(0.05)
    watching.cancel()
    publisher.loop_stop()
    told("incident in the API", in_api)
    told("event on the screen", on_screen)
    print(
        f"{tries} tries: {complete} with unit and due time, {opened} opened an incident, the rest joined one"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--http", default="http://127.0.0.1:8000")
    arguments.add_argument("--mqtt-port", type=int, default=1883)
    arguments.add_argument("--tries", type=int, default=200)
    chosen = arguments.parse_args()
    asyncio.run(measure(chosen.http, chosen.mqtt_port, chosen.tries))


if __name__ == "__main__":
    main()
