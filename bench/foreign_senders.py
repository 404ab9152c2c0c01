"""Publishes what every foreign MQTT family would, to a running product, so that a person sees each on the wall.

Run as a module from the repository while the product runs (``make run``): ``python -m bench.foreign_senders``. One calm
round of every family, then one with an alarm of those that can, then calm rounds until it is stopped.
``--commands`` prints the same as ``mosquitto_pub`` lines for a shell, for a machine that has nothing else.

The embedded broker listens on 1883 without a password (docs/operations.md); another: ``--broker host:port``.
"""

import argparse
import shlex
import time
from collections.abc import Iterator

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from bench.foreign_samples import FAMILIES, Sample


def rounds(families: list[str], now: float, *, alarm: bool) -> Iterator[tuple[str, Sample]]:
    """What each family sends in one round; a frame of TCP is nobody's MQTT message."""
    for family in families:
        for sample in FAMILIES[family](now, alarm):
            if not (sample.binary or sample.asked):
                yield family, sample


def command(host: str, port: int, sample: Sample) -> str:
    """The same with mosquitto's own client."""
    retain = " -r" if sample.retain else ""
    return (
        f"mosquitto_pub -h {host} -p {port} -q 1{retain} -t {shlex.quote(sample.topic)}"
        f" -m {shlex.quote(sample.payload.decode())}"
    )


def send(client: mqtt.Client, families: list[str], *, alarm: bool) -> None:
    for family, sample in rounds(families, time.time(), alarm=alarm):
        client.publish(sample.topic, sample.payload, qos=1, retain=sample.retain).wait_for_publish(10)
        print(f"{family:<16}{'alarm ' if alarm else '':<7}{sample.topic}", flush=True)


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--broker", default="127.0.0.1:1883", help="host:port")
    reader.add_argument("--only", default="", help="families with commas between them; default: all")
    reader.add_argument("--every", type=float, default=30.0, help="seconds between calm rounds")
    reader.add_argument(
        "--rounds", type=int, default=0, help="calm rounds after the alarm; 0 = until stopped"
    )
    reader.add_argument("--commands", action="store_true", help="print mosquitto_pub lines and send nothing")
    given = reader.parse_args()
    host, _, port = given.broker.rpartition(":")
    known = [name for name in FAMILIES if name != "frigate_events"]  # the reviews say the same
    families = [name for name in given.only.split(",") if name] or known
    unknown = [name for name in families if name not in FAMILIES]
    if unknown:
        reader.error(f"unknown family {unknown[0]!r}; known are {', '.join(FAMILIES)}")
    if given.commands:
        for alarm in (False, True):
            for _, sample in rounds(families, time.time(), alarm=alarm):
                print(command(host, int(port), sample))
        return 0
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.connect(host, int(port))
    client.loop_start()
    send(client, families, alarm=False)
    send(client, families, alarm=True)
    done = 0
    try:
        while not given.rounds or done < given.rounds:
            time.sleep(given.every)
            send(client, families, alarm=False)
            done += 1
    except KeyboardInterrupt:
        print("stopped")
    client.disconnect()
    client.loop_stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
