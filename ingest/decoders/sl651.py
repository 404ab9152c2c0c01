"""SL 651-2014, hydrological telemetry: frames of stations to reports. Topics are ``sl651/{station}``.

The listener hears them over TCP (``ingest.sources.sl651``); a message is one frame, or the packets of one report
behind each other. Keys are the ASCII identifiers of appendix C (Z, PJ, VT), times are the district's own.
"""

from collections.abc import Iterator, Sequence

from city.observations import Rejection
from ingest.decoders.said import MAX_PAYLOAD, Arrival, Link, Rejected, Report, Said
from ingest.decoders.sl651_body import local_us, read_hex
from ingest.decoders.sl651_frames import Frame, read_frame
from ingest.decoders.sl651_text import read_text

FAMILY = "sl651"
WRONG_PASSWORD = "wrong-password"  # noqa: S105 - the last level of a topic, for frames that did not show the right one

LINK = 0x2F
PICTURE = 0x36
REPORTS = frozenset((0x30, 0x31, 0x32, 0x33, 0x34, 0x35))  # sent by themselves; they are confirmed
_READ = REPORTS | {PICTURE, 0x37, 0x38, 0x39, 0x3A, 0x3B, 0x44, 0x46}  # text with elements of table C.1
# Parameters, version, orders and their answers, events, clock: the same guide bytes mean other things there.
_SILENT = frozenset((*range(0x40, 0x44), 0x45, *range(0x47, 0x52)))

AHEAD_US = 86_400_000_000  # a station's clock further ahead than this is wrong, and not a forecast
_DAY_S = 86_400


class Sl651:
    """Stations of SL 651-2014."""

    family = FAMILY
    filters = (f"{FAMILY}/#",)
    subscribed = False

    def decode(self, topic: str, payload: bytes, arrival: Arrival) -> Sequence[Said] | Rejected:
        """Reports of a station, oldest first; see ``decoders.said.Decoder``."""
        if len(payload) > MAX_PAYLOAD:
            return Rejected(Rejection.OVERSIZE, f"{len(payload)} bytes; send at most {MAX_PAYLOAD}")
        if topic.endswith(f"/{WRONG_PASSWORD}"):
            return Rejected(
                Rejection.WRONG_PASSWORD,
                "password is none of CITY_SL651_PASSWORD; correct the station or the setting",
            )
        frames: list[Frame] = []
        at = 0
        while at < len(payload) or not frames:
            found = read_frame(payload, at)
            if isinstance(found, Rejected):
                return found
            frame, at = found
            frames.append(frame)
        return [said for message in _messages(frames) for said in _said(message, arrival)]


DECODER = Sl651()


def _messages(frames: Sequence[Frame]) -> Iterator[list[Frame]]:
    """Packets that belong together, in the order of their numbers; every other frame alone."""
    held: list[Frame] = []
    for frame in frames:
        follows = (
            bool(held)
            and frame.packet is not None
            and held[-1].packet is not None
            and (frame.station, frame.function) == (held[-1].station, held[-1].function)
            and frame.packet == (held[-1].packet[0], held[-1].packet[1] + 1)
        )
        if held and not follows:
            yield held
            held = []
        held.append(frame)
    if held:
        yield held


def _said(frames: list[Frame], arrival: Arrival) -> list[Said]:
    first = frames[0]
    if first.down:
        return []  # the centre's own words, as a capture has them
    if first.function == LINK:
        return [Link(device=first.station, online=True)]
    if first.function in _SILENT:
        return []
    if first.function not in _READ:
        return [
            Rejected(
                Rejection.UNSUPPORTED, f"function {first.function:02X}H is none of SL 651-2014's reports"
            )
        ]
    total, number = first.packet or (1, 1)
    if number != 1:
        if first.function == PICTURE:
            return []
        return [
            Rejected(
                Rejection.BAD_FRAME, f"packet {number} of {total} without those before it; send them together"
            )
        ]
    text = b"".join(frame.body for frame in frames)
    if len(text) < (16 if first.text else 8):
        return [Rejected(Rejection.BAD_LENGTH, f"text of {len(text)} bytes has no serial number and time")]
    return _reports(first, text, len(frames) < total, arrival)


def _reports(first: Frame, text: bytes, cut: bool, arrival: Arrival) -> list[Said]:
    if first.text:
        body = read_text(text[16:], first.function, arrival.zone)
        numbered = text[:16].decode("ascii", "replace")
    else:
        body = read_hex(text[8:], first.function, arrival.zone, cut=cut)
        numbered = text[:8].hex()
    groups: dict[int | None, dict[str, float]] = {}
    for moment, key, value in body.items:
        groups.setdefault(moment, {})[key] = value
    newest = max((moment for moment in groups if moment is not None), default=0)
    if newest - arrival.received_us > AHEAD_US:
        groups = _untimed(groups, (newest - arrival.received_us) // 1_000_000)
    station = body.station or first.station  # a relay's frame has its own address in its header
    times = sorted(groups, key=lambda moment: (moment is not None, moment or 0))
    seq = _sequence(numbered, arrival) if None in groups else None
    said: list[Said] = [
        Report(
            device=station,
            values=groups[moment],
            at_us=moment,
            seq=seq if moment is None else None,
            model=f"SL651-{body.kind}" if body.kind else "",
            gateway=first.station if station != first.station else "",
        )
        for moment in times
    ]
    return said + list(body.faults)


def _untimed(groups: dict[int | None, dict[str, float]], ahead_s: int) -> dict[int | None, dict[str, float]]:
    """A clock that cannot be right says nothing about when: the newest values stand at their arrival."""
    merged: dict[str, float] = {}
    for moment in sorted(groups, key=lambda moment: moment or 0):
        merged |= groups[moment]
    return {None: merged | {"TT.ahead": float(ahead_s)}}


def _sequence(numbered: str, arrival: Arrival) -> int | None:
    """The serial number, which begins again at 65,536, made one of its kind by the day on which it was sent."""
    sent = local_us(numbered[4:], arrival.zone)
    try:
        serial = int(numbered[:4], 16)
    except ValueError:
        return None
    return None if sent is None else (sent // 1_000_000 // _DAY_S) << 16 | serial
