"""Every parser that reads a stranger's bytes, under atheris: ``python -m tests.fuzz.parsers NAME -max_total_time=600``.

NAME is one of ``PARSERS``. What holds for all: hostile bytes are answered by the parser's own refusal, never by
another exception, a hang or memory without bound (libFuzzer finds the last two). SL 651 and GB 26875 have targets of
their own that also build frames whose checksum is right.
"""

import contextlib
import importlib
import io
import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from importlib.util import find_spec
from typing import Any
from zoneinfo import ZoneInfo

from bench.foreign_samples import FAMILIES, Sample
from tests.fuzz.bodies import changed

# The short form in the normal run does without atheris, which has to see our modules when they are imported.
atheris: Any = importlib.import_module("atheris") if find_spec("atheris") else None
with (
    atheris.instrument_imports(include=["city", "ingest", "rules", "command_centre.open311"])
    if atheris
    else contextlib.nullcontext()
):
    from city.catalogue_sheet import SheetError, read_sheet
    from city.device_profiles import parse_files
    from city.district_files import parse as parse_district
    from city.district_source import Faults
    from city.payload_codecs import Codec
    from city.payload_codecs import decode as decode_frame
    from city.register_sheets import as_csv
    from city.sensorthings import address, options
    from city.sensorthings.model import ENTITIES, SensorThingsError
    from command_centre.open311.reading import ReadingError, read_json, read_xml
    from command_centre.photos import PhotoError, examine
    from ingest.decoders import native
    from ingest.decoders.said import Arrival, Decoder, Rejected, Report, Seen
    from ingest.routing import installed
    from ingest.sources.hj212 import LONGEST, cut_lines
    from ingest.sources.packets import PacketReader, ProtocolViolationError
    from rules.definitions import RuleError
    from rules.definitions import parse as parse_rules

    DECODERS = installed()  # here, where they are imported

ARRIVAL = Arrival(1_795_343_612_000_000, ZoneInfo("Asia/Shanghai"))
ELSEWHERE = frozenset({"sl651", "gb26875"})  # fuzz_sl651.py, fuzz_gb26875.py
Parser = Callable[[bytes], None]


class BrokenPromiseError(Exception):
    """The parser answered, and its answer is one that nothing behind it is made for."""


def sender(decoder: Decoder, samples: Sequence[Sample], data: bytes) -> None:
    """One message on one of the family's topics, then each plausible message of it with some of its parts exchanged."""
    place = data[0] % len(decoder.filters) if data else 0
    _decode(decoder, decoder.filters[place].replace("+", "dev-1").replace("#", "dev-1/up"), data[1:])
    for sample in samples:
        _decode(decoder, sample.topic, _spoilt(sample, data))


def _spoilt(sample: Sample, data: bytes) -> bytes:
    try:
        return json.dumps(changed(json.loads(sample.payload), data)).encode()
    except ValueError:
        head, at = sample.payload, int.from_bytes(data[:2]) % (len(sample.payload) + 1)
        return head[:at] + data[2:18] + head[at + len(data[2:18]) :]


def _decode(decoder: Decoder, topic: str, payload: bytes) -> None:
    said = decoder.decode(topic, payload, ARRIVAL)
    for one in [said] if isinstance(said, Rejected) else said:
        if isinstance(one, Rejected) and not one.detail:
            raise BrokenPromiseError("refused without a word")
        if isinstance(one, Report) and not all(type(value) is float for value in one.values.values()):
            raise BrokenPromiseError("a value that is no float")
        if isinstance(one, Seen) and one.score is not None and not math.isfinite(one.score):
            raise BrokenPromiseError(f"a score of {one.score}")


def native_message(data: bytes) -> None:
    """A topic and a payload, alone and in a batch: one answer, however they come."""
    topic, _, payload = data.partition(b"\n")
    read_topic = native.read_topic(topic)
    if isinstance(read_topic, Rejected) and not read_topic.detail:
        raise BrokenPromiseError("refused without a word")
    alone = native.decode_one(payload)
    together = native.decode_batch([payload, b'{"value":1}'])
    if together is not None and (isinstance(alone, Rejected) or len(together) != 2):
        raise BrokenPromiseError("good in a batch, bad alone")


def packets(data: bytes) -> None:
    """A broker's stream, whole and in pieces: the same messages."""
    size = data[0] % 64 + 1 if data else 1
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    if _published([data]) != _published(pieces):
        raise BrokenPromiseError("the cut decides what was published")


def _published(pieces: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
    reader = PacketReader()
    kept: list[tuple[bytes, bytes]] = []
    for piece in pieces:
        try:
            found = reader.feed(piece, lambda _first, _length, _body: True)
        except ProtocolViolationError:
            return []  # the connection ends; what was read before it in one piece comes again with the next one
        kept += zip(found.topics, found.payloads, strict=True)
    return kept


def hj212_stream(data: bytes) -> None:
    """Little of a station's stream is held, and nothing after its end."""
    size = data[0] % 64 + 1 if data else 1
    rest = b""
    for at in range(0, len(data), size):
        _, rest = cut_lines(rest + data[at : at + size], ended=False)
        if len(rest) > LONGEST + 64:
            raise BrokenPromiseError(f"{len(rest)} bytes held of one peer")
    _, rest = cut_lines(rest, ended=True)
    if rest:
        raise BrokenPromiseError("held after the end")


@cache
def _codecs() -> list[Codec]:
    return [profile.codec for profile in parse_files([], {}, Faults()) if profile.codec is not None]


def radio_frame(data: bytes) -> None:
    """A frame by one of the shipped descriptions, on any port."""
    if len(data) < 2:
        return
    codecs = _codecs()
    decoded = decode_frame(codecs[data[0] % len(codecs)], data[2:], data[1])
    for reading in decoded.readings:
        if not all(map(math.isfinite, reading.values.values())):
            raise BrokenPromiseError(f"{reading.values!r} is no reading")


def rule_file(data: bytes) -> None:
    """rules.toml as somebody wrote it."""
    with contextlib.suppress(RuleError):
        parse_rules(data.decode("utf-8", "replace"), "rules.toml")


_FILES = (
    "district.toml", "kinds.toml", "categories.csv", "areas.geojson", "stations.csv", "station_series.csv", "units.csv",
    "shifts.csv", "roster.csv", "responsibilities.csv", "patrol_routes.csv", "devices.csv", "components.csv",
    "buildings.csv",
)  # fmt: skip


def district_file(data: bytes) -> None:
    """One file of a district's folder; all its faults are collected, none is raised."""
    if data:
        parse_district({_FILES[data[0] % len(_FILES)]: data[1:]}, Faults())


def sheet(data: bytes) -> None:
    """A table or drawing that somebody uploads."""
    with contextlib.suppress(SheetError):
        read_sheet(data, "sheet.xlsx")
    for name in ("devices.geojson", "buildings.xlsx"):
        with contextlib.suppress(SheetError):
            as_csv(name, data)


def sensorthings(data: bytes) -> None:
    """A path and its options."""
    path, _, rest = data.decode("utf-8", "replace").partition("?")
    with contextlib.suppress(SensorThingsError):
        address.parse(path)
    given = [(name, value) for name, _, value in (one.partition("=") for one in rest.split("&"))]
    for entity in ENTITIES.values():
        with contextlib.suppress(SensorThingsError):
            options.parse(entity, given)


def open311(data: bytes) -> None:
    """Another city's answer."""
    for read_one in (read_xml, read_json):
        with contextlib.suppress(ReadingError):
            read_one(data)


def photo(data: bytes) -> None:
    """What somebody sends as a picture."""
    with contextlib.suppress(PhotoError), contextlib.redirect_stderr(io.StringIO()):
        examine("picture", data)


PARSERS: dict[str, Parser] = {
    **{
        name: partial(sender, one, FAMILIES[name](ARRIVAL.received_us / 1e6, True))
        for name, one in DECODERS.items()
        if name not in ELSEWHERE
    },
    "native": native_message,
    "packets": packets,
    "hj212_stream": hj212_stream,
    "radio_frame": radio_frame,
    "rule_file": rule_file,
    "district_file": district_file,
    "sheet": sheet,
    "sensorthings": sensorthings,
    "open311": open311,
    "photo": photo,
}


def main() -> None:
    """Fuzz one parser for ever, or as libFuzzer's options behind its name say."""
    if atheris is None:
        sys.exit("atheris is not installed: `make fuzz` installs it beside .venv")
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in PARSERS:
        sys.exit(f"NAME = {name!r}: use one of {', '.join(PARSERS)}")
    atheris.Setup(sys.argv, PARSERS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
