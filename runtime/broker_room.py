"""Room in the embedded broker's store for more than messages.

NATS keeps messages and sessions under one limit. Once messages had filled it, no session could be written down any
more: ingest was refused when it came back, and nothing was ever taken out again. So messages get a limit of their own
below the store's. No setting says that; NATS' own protocol does (JetStream API: STREAM.INFO, STREAM.UPDATE).
"""

import json
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from city.errors import CityError

STREAM = "$MQTT_msgs"  # where NATS keeps what was published at QoS 1
_INBOX = "_INBOX.city"
_PATIENCE_S = 10


def limit_messages(store: Path, pid: int, most: int) -> None:
    """Let messages take ``most`` bytes of the store at most; beyond it publishers are not acknowledged.

    For a server that writes its ports below ``store`` and has accepted an MQTT client, which makes the stream. Raises
    CityError when it does not do so.
    """
    try:
        with socket.create_connection(_address(store, pid), timeout=_PATIENCE_S) as line:
            link = line.makefile("rwb")
            link.write(b'CONNECT {"verbose":false,"pedantic":false,"protocol":1}\r\n')
            link.write(f"SUB {_INBOX} 1\r\n".encode())
            config = _asked(link, f"$JS.API.STREAM.INFO.{STREAM}", b"")["config"]
            wanted = config | {"max_bytes": most, "discard": "new"}
            if wanted != config:
                _asked(link, f"$JS.API.STREAM.UPDATE.{STREAM}", json.dumps(wanted).encode())
    except (OSError, ValueError, KeyError) as error:
        raise CityError(f"the embedded broker takes no limit for its messages: {error}") from error


def _address(store: Path, pid: int) -> tuple[str, int]:
    """Where the server takes NATS' own protocol; it writes that down a moment after it takes clients."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            told = json.loads((store / f"nats-server_{pid}.ports").read_text(encoding="utf-8"))
            break
        except (FileNotFoundError, ValueError):
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
    address = urlsplit(told["nats"][0])
    return address.hostname or "", address.port or 0


def _asked(link: Any, subject: str, body: bytes) -> dict[str, Any]:
    """The answer of the JetStream API; ValueError with its words when it refuses."""
    link.write(f"PUB {subject} {_INBOX} {len(body)}\r\n".encode() + body + b"\r\n")
    link.flush()
    while line := link.readline():
        if line.startswith(b"PING"):
            link.write(b"PONG\r\n")
            link.flush()
        elif line.startswith(b"MSG"):
            answer: dict[str, Any] = json.loads(link.read(int(line.split()[-1]) + 2))
            if "error" in answer:
                raise ValueError(answer["error"].get("description", "refused"))
            return answer
        elif line.startswith(b"-ERR"):
            raise ValueError(line.decode(errors="replace").strip())
    raise ConnectionError("the connection ended")
