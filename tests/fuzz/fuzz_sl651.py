"""SL 651-2014 under atheris: ``python -m tests.fuzz.fuzz_sl651 -max_total_time=600 -timeout=5 -rss_limit_mb=1024``.

Bytes are decoded as they are, as a text in a frame whose checksum is right (else nothing gets past it), and as a stream
through the listener's framer. A crash is any exception; a hang or unbounded memory is libFuzzer's to find.
"""

import contextlib
import importlib
import math
import sys
from importlib.util import find_spec
from typing import Any
from zoneinfo import ZoneInfo

# The hypothesis form of the normal run does without atheris, which has to see our modules when they are imported.
atheris: Any = importlib.import_module("atheris") if find_spec("atheris") else None
with atheris.instrument_imports(include=["ingest"]) if atheris else contextlib.nullcontext():
    from ingest.decoders.said import Arrival, Link, Rejected, Report
    from ingest.decoders.sl651 import DECODER
    from ingest.decoders.sl651_frames import LONGEST, checksum
    from ingest.sources.sl651 import HELD_GARBAGE, StationTalk

ARRIVAL = Arrival(1_795_343_612_000_000, ZoneInfo("Asia/Shanghai"))


def one_input(data: bytes) -> None:
    """Raise when anything the product promises about hostile bytes is broken."""
    _decode(data)
    if data:
        _decode(_framed(data[0], data[1:0xFFF]))
        _decode(_framed_text(data[0], data[1:0xFFF]))
    _stream(data)


def _framed(function: int, text: bytes) -> bytes:
    start, text = (b"\x16", text) if function & 0x80 else (b"\x02", text)
    said = b"\x7e\x7e\x01\x00\x12\x34\x56\x78\x12\x34" + bytes((function & 0x7F,))
    said += len(text).to_bytes(2, "big") + start + text + b"\x03"
    return said + checksum(said).to_bytes(2, "big")


def _framed_text(function: int, text: bytes) -> bytes:
    said = f"\x010100123456781234{function & 0x7F:02X}0{len(text):03X}\x02".encode() + text + b"\x03"
    return said + b"%04X" % checksum(said)


def _decode(data: bytes) -> None:
    said = DECODER.decode("sl651/x", data, ARRIVAL)
    for one in [said] if isinstance(said, Rejected) else said:
        if not isinstance(one, Report | Link | Rejected):
            raise TypeError(f"{one!r} is nothing a station says")
        if isinstance(one, Report) and not (one.values and all(map(math.isfinite, one.values.values()))):
            raise ValueError(f"{one.values!r} is no report")
        if isinstance(one, Rejected) and not one.detail:
            raise ValueError("refused without a word")


def _stream(data: bytes) -> None:
    talk, kept = StationTalk(frozenset(), stay_online=True), []
    size = data[0] % 64 + 1 if data else 1
    for at in range(0, len(data), size):
        kept += talk.hear(data[at : at + size])
        if talk.waiting > max(LONGEST, HELD_GARBAGE):
            raise MemoryError(f"{talk.waiting} bytes held of one peer")
    kept += talk.rest()
    if sum(len(heard.payload) for heard in kept) != len(data):
        raise ValueError("bytes of a stream were lost or said twice")
    for heard in kept:
        if heard.answer is not None:
            heard.answer()


def main() -> None:
    """Fuzz for ever, or as libFuzzer's options on the command line say."""
    if atheris is None:
        sys.exit("atheris is not installed: pip install atheris, then run this again")
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
