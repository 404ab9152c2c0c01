"""The text of an SL 651-2014 report in the ASCII form: identifiers and values with spaces between (6.6.2). Pure."""

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from city.observations import Rejection
from ingest.decoders.said import Rejected
from ingest.decoders.sl651_body import HOUR_US, IN_HOUR, UNIFORM, Body, BrokenError, local_us, read_series
from ingest.decoders.sl651_elements import LEVEL_SERIES, RAIN_SERIES, STATION_TYPES, name_of, status_flags

_SERIES_NAMES = {name_of(guide): guide for guide in (RAIN_SERIES, *LEVEL_SERIES)}
_STEPS = {"D": 24 * HOUR_US, "H": HOUR_US, "N": HOUR_US // 60}


def read_text(data: bytes, function: int, zone: ZoneInfo) -> Body:
    """Identifiers and values with spaces between, after serial number and time: ``ST … H TT … Z 6.38 VT 12.50``."""
    body = Body()
    try:
        words = data.decode("ascii").split()
        _read_text(iter(_without_station(words, body)), function, zone, body)
    except BrokenError as broken:
        body.faults.append(broken.why)
    except UnicodeDecodeError as error:
        if b"PIC " not in data[: error.start]:  # a picture is bytes, and no reading
            body.faults.append(Rejected(Rejection.BAD_FRAME, f"text is not ASCII at byte {error.start}"))
    return body


def _read_text(words: Iterator[str], function: int, zone: ZoneInfo, body: Body) -> None:
    observed: int | None = None
    for word in words:
        if word == "TT":
            observed = _text_time(next(words, ""), zone)
        elif word in ("RGZS", "PIC", "DATA"):
            return  # entered by hand, a picture, a block of its maker's: no readings
        elif word in _SERIES_NAMES:
            _series(word, next(words, ""), observed, body)
        elif function in UNIFORM and len(word) == 5 and word[:2] == "DR" and word[2] in _STEPS:
            _text_uniform(words, observed, _STEPS[word[2]] * _whole(word[3:], word), body)
            return
        elif word == "ZT":
            flags = status_flags(_hexadecimal(next(words, ""), "ZT", 8))
            body.items += [(observed, key, value) for key, value in flags.items()]
        else:
            _text_value(word, next(words, ""), observed, body)


def _without_station(words: list[str], body: Body) -> list[str]:
    """What follows ``ST address`` and the type, if one stands before the time: Z is a sluice, and a level, too."""
    if words[:1] != ["ST"]:
        return words
    body.station = words[1].upper() if len(words) > 1 else ""
    if words[3:4] != ["TT"]:
        return words[2:]
    kind = words[2]
    try:  # some write the code, 48, where the standard has the letter, H
        code = ord(kind) if len(kind) == 1 else int(kind, 16)
    except ValueError:
        code = 0
    body.kind = chr(code) if code in STATION_TYPES else ""
    return words[3:]


def _text_time(digits: str, zone: ZoneInfo) -> int:
    found = local_us(digits, zone) if len(digits) in (10, 12) else None
    if found is None:
        raise BrokenError(
            Rejection.BAD_TIME, f"observation time {digits[:20]!r} is none; send YYMMDDHHmm in local time"
        )
    return found


def _text_value(name: str, said: str, observed: int | None, body: Body) -> None:
    if not said:
        raise BrokenError(Rejection.BAD_LENGTH, f"element {name[:20]!r} has no value; the text ends after it")
    if said in ("M", "F") or set(said) == {"F"}:
        return  # not measured
    unsigned = said.removeprefix("-")
    if unsigned.replace(".", "", 1).isdecimal() and unsigned.isascii() and len(unsigned) <= 24:
        body.items.append((observed, name, float(said)))
    else:
        body.faults.append(
            Rejected(Rejection.BAD_FRAME, f"element {name[:20]!r} is {said[:20]!r}; send a number or M")
        )


def _series(name: str, said: str, first: int | None, body: Body) -> None:
    width = 1 if name == "DRP" else 2
    _hexadecimal(said, name, 2 * IN_HOUR * width)
    read_series(bytes.fromhex(said), 0, _SERIES_NAMES[name], first, body)


def _text_uniform(words: Iterator[str], observed: int | None, step: int, body: Body) -> None:
    names: list[str] = []
    values: list[str] = []
    for word in words:
        if not values and word in _SERIES_NAMES:
            for said in words:
                _series(word, said, observed, body)
                observed = None if observed is None else observed + (step or HOUR_US)
            return
        (
            values if names and (values or word in ("M", "F") or word.lstrip("-")[:1].isdecimal()) else names
        ).append(word)
    for position, said in enumerate(values):
        group, place = divmod(position, len(names))
        moment = None if observed is None else observed + group * step
        _text_value(names[place], said, moment, body)


def _whole(digits: str, what: str) -> int:
    if not digits.isdecimal() or not digits.isascii():
        raise BrokenError(Rejection.BAD_FRAME, f"time step {what!r} is none; send DRN05, DRH01 or DRD01")
    return int(digits)


def _hexadecimal(said: str, name: str, digits: int) -> int:
    if len(said) != digits:
        raise BrokenError(Rejection.BAD_LENGTH, f"{name} has {len(said)} digits; send {digits}")
    try:
        return int(bytes.fromhex(said).hex(), 16)
    except ValueError as error:
        raise BrokenError(
            Rejection.BAD_FRAME, f"{name} is {said[:20]!r}; send pairs of hexadecimal digits"
        ) from error
