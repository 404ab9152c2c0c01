"""GB/T 26875.3 under atheris: ``make fuzz``, or ``python -m tests.fuzz.fuzz_gb26875 -max_total_time=600``.

Bytes are decoded as they are, as an application unit in a frame whose sum is right (else nothing gets past it), and as
a stream through the listener. A crash is any exception; a hang or unbounded memory is libFuzzer's to find.
"""

import contextlib
import importlib
import math
import sys
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any
from zoneinfo import ZoneInfo

# The same inputs are tried without atheris in the normal run; it has to see our modules when they are imported.
atheris: Any = importlib.import_module("atheris") if find_spec("atheris") else None

with atheris.instrument_imports(include=["ingest"]) if atheris else contextlib.nullcontext():
    from ingest.decoders.gb26875 import DECODER, HEAD, MAX_UNIT, START, TAIL
    from ingest.decoders.said import Announced, Arrival, Link, Rejected, Report
    from ingest.sources.gb26875 import TestUsers, TransmitterConversation

ZONE = ZoneInfo("Asia/Shanghai")
ARRIVAL = Arrival(1_795_343_612_000_000, ZONE)
NOW = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)
LONGEST = HEAD + MAX_UNIT + TAIL


def one_input(data: bytes) -> None:
    """Raise when anything the product promises about hostile bytes is broken."""
    _decode("gb26875/1", data)
    if data:
        whole = framed(data[0], data[1 : MAX_UNIT + 1])
        _decode("gb26875/1", whole)
        _decode("gb26875/1/tests", whole)
        _stream(data + whole, size=data[0] % 64 + 1, last=whole)


def framed(command: int, unit: bytes) -> bytes:
    """A frame with a right sum; most often one that carries data."""
    control = b"\1\0\1\1" + bytes((0, 0, 10, 22, 11, 26)) + b"\x79\3\0\0\0\0" + b"\x38\x5b\1\0\0\0"
    said = control + len(unit).to_bytes(2, "little") + bytes((2 if command < 200 else command,)) + unit
    return b"@@" + said + bytes((sum(said) & 0xFF,)) + b"##"


def _decode(topic: str, data: bytes) -> None:
    said = DECODER.decode(topic, data, ARRIVAL)
    for one in [said] if isinstance(said, Rejected) else said:
        if not isinstance(one, Report | Link | Announced | Rejected):
            raise TypeError(f"{one!r} is nothing a transmitter says")
        if isinstance(one, Report) and not all(map(math.isfinite, one.values.values())):
            raise ValueError(f"{one.values!r} is no report")
        if isinstance(one, Announced) and not (one.name and one.name.isprintable()):
            raise ValueError(f"{one.name!r} is no name")
        if isinstance(one, Rejected) and not one.detail:
            raise ValueError("refused without a word")


def _stream(data: bytes, *, size: int, last: bytes) -> None:
    """In pieces of ``size``; the frame at the end has to be found whatever stands before it."""
    talk, kept = TransmitterConversation(TestUsers(), lambda: NOW), []
    for at in range(0, len(data), size):
        kept += talk.hear(data[at : at + size])
        if talk.waiting > LONGEST:
            raise MemoryError(f"{talk.waiting} bytes held of one peer")
    kept += talk.rest()
    if b"".join(heard.payload for heard in kept) != data:
        raise ValueError("bytes of a stream were lost or said twice")
    within = (
        START in last[2:]
    )  # a frame within a unit may be taken for one behind a frame that was broken off
    if not within and not any(heard.payload.endswith(last) for heard in kept if not heard.garbage):
        raise ValueError("a whole frame was not found")
    for heard in kept:
        if heard.answer is not None and len(heard.answer()) != HEAD + TAIL:
            raise ValueError("an answer is no frame")


def main() -> None:
    """Fuzz for ever, or as libFuzzer's options on the command line say."""
    if atheris is None:
        sys.exit("atheris is not installed here: make fuzz")
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
