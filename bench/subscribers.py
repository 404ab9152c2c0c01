"""What the product is measured against: a subscriber that only acknowledges, raw and with stock paho.

Runs as a process of its own (`python -m bench.subscribers raw|paho`); ends when `--total` messages have come
and prints one JSON object with the seconds between the first and the last.
"""

import argparse
import json
import socket
import time

import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from bench.frames import connect, subscribe


def raw(port: int, total: int, frame_length: int, id_at: int) -> dict[str, float]:
    """Frames of one known length, so that the acknowledgements of a read are one array operation."""
    link = socket.create_connection(("127.0.0.1", port), 10)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    link.sendall(connect("bench-raw", clean=True) + subscribe("city/#", 1))
    greeting = b""
    while len(greeting) < 9:  # CONNACK and SUBACK
        greeting += link.recv(9 - len(greeting))
    print("ready", flush=True)
    seen, first, rest = 0, 0.0, b""
    while seen < total:
        data = rest + link.recv(1 << 18)
        first = first or time.monotonic()
        whole = len(data) // frame_length
        frames = np.frombuffer(data, np.uint8, whole * frame_length).reshape(whole, frame_length)
        rest = data[whole * frame_length :]
        answer = np.empty((whole, 4), np.uint8)
        answer[:, 0], answer[:, 1] = 0x40, 2
        answer[:, 2:] = frames[:, id_at : id_at + 2]
        link.sendall(answer.tobytes())
        seen += whole
    return {"received": seen, "seconds": time.monotonic() - first}


def paho(port: int, total: int) -> dict[str, float]:
    """paho as everybody uses it, with a callback that does nothing but count."""
    seen, first = 0, 0.0

    def on_message(client: mqtt.Client, _data: object, _message: mqtt.MQTTMessage) -> None:
        nonlocal seen, first
        first = first or time.monotonic()
        seen += 1
        if seen >= total:
            client.disconnect()

    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="bench-paho")
    client.on_message = on_message
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.connect("127.0.0.1", port)
    client.subscribe("city/#", 1)
    client.loop_forever()
    return {"received": seen, "seconds": time.monotonic() - first}


def main() -> None:
    """Command line: see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["raw", "paho"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--total", type=int, required=True)
    parser.add_argument("--frame-length", type=int, default=0)
    parser.add_argument("--id-at", type=int, default=0)
    given = parser.parse_args()
    if given.kind == "raw":
        result = raw(given.port, given.total, given.frame_length, given.id_at)
    else:
        result = paho(given.port, given.total)
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
