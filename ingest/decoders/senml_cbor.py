"""The CBOR form of SenML (RFC 8428, 6) as rows with the labels of the JSON form.

cbor2 knows twenty tags, among them regular expressions, mail and references to itself; here they are refused, and so
is what nests deeper than a pack can.
"""

import io
from collections.abc import Callable, Mapping
from typing import Any

from cbor2 import CBORDecodeError, CBORDecoder, CBORTag

from city.observations import Rejection
from ingest.decoders.said import Rejected

DEEPEST = 16  # a pack has two levels; an extension's field may have some of its own
MOST_FIELDS = 64  # of a record; fifteen are defined

LABELS = {
    -1: "bver",
    -2: "bn",
    -3: "bt",
    -4: "bu",
    -5: "bv",
    -6: "bs",
    0: "n",
    1: "u",
    2: "v",
    3: "vs",
    4: "vb",
    5: "s",
    6: "t",
    7: "ut",
    8: "vd",
}

TAGS_OF_CBOR2 = (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000)
SELF_DESCRIBED = 55799  # "this is CBOR", in front of the pack

_WANTED = "send a SenML pack, an array of maps"


def read_cbor(payload: bytes) -> list[dict[str, Any]] | Rejected:
    """The records with their labels as text; their values are still to be checked."""
    stream = io.BytesIO(payload)
    try:
        pack = CBORDecoder(
            stream,
            max_depth=DEEPEST,
            allow_duplicate_keys=False,
            semantic_decoders=_TAGS,
            tag_hook=_unknown_tag,
        ).decode()
    except (CBORDecodeError, RecursionError, MemoryError, OverflowError, ValueError, TypeError) as error:
        why = " ".join(f"{error.__cause__ or error}".split())[:160]
        return Rejected(Rejection.NOT_CBOR, f"{why}; {_WANTED}")
    rest = len(payload) - stream.tell()
    if rest:
        return Rejected(Rejection.NOT_CBOR, f"{rest} bytes follow the pack; {_WANTED} and nothing else")
    if not isinstance(pack, list | tuple):
        return Rejected(Rejection.WRONG_SHAPE, f"the CBOR is {type(pack).__name__}; {_WANTED}")
    rows: list[dict[str, Any]] = []
    for record in pack:
        row = _row(record)
        if isinstance(row, Rejected):
            return row
        rows.append(row)
    return rows


def _row(record: object) -> dict[str, Any] | Rejected:
    if not isinstance(record, Mapping):
        return Rejected(Rejection.WRONG_SHAPE, f"a record is {type(record).__name__}; {_WANTED}")
    if len(record) > MOST_FIELDS:
        return Rejected(
            Rejection.WRONG_SHAPE, f"a record has {len(record)} fields; send at most {MOST_FIELDS}"
        )
    row: dict[str, Any] = {}
    for label, value in record.items():
        name = label if isinstance(label, str) else LABELS.get(label) if type(label) is int else ""
        if name == "":
            return Rejected(Rejection.WRONG_SHAPE, f"label {str(label)[:40]!r} is neither a number nor text")
        if name is None:
            continue  # a number that nobody has defined
        if name.endswith("_"):
            return Rejected(
                Rejection.UNSUPPORTED,
                f"field {name[:40]!r} must be understood (it ends with _) and is not; leave it out",
            )
        if name in row:
            return Rejected(
                Rejection.WRONG_SHAPE, f"field {name[:40]!r} comes twice in one record; send it once"
            )
        row[name] = "" if name == "vd" and isinstance(value, bytes) else value
    return row


def _refuse(number: int) -> Callable[[Any, bool], Any]:
    def refuse(value: Any, immutable: bool) -> Any:
        raise ValueError(f"tag {number} has no meaning in SenML")

    return refuse


def _decimal_fraction(value: Any, immutable: bool) -> float:
    """Tag 4: mantissa times ten to the exponent, rounded once."""
    exponent, mantissa = value
    if type(exponent) is not int or type(mantissa) is not int or abs(exponent) > 400:
        raise ValueError("a decimal fraction is not two integers with an exponent up to 400")
    return float(f"{mantissa}e{exponent}")


def _plain(value: Any, immutable: bool) -> Any:
    """Tag 1 marks seconds since 1970, which is what a time is here anyway."""
    return value


def _unknown_tag(tag: CBORTag, immutable: bool) -> Any:
    raise ValueError(f"tag {tag.tag} has no meaning in SenML")


_TAGS: dict[int, Callable[[Any, bool], Any]] = {number: _refuse(number) for number in TAGS_OF_CBOR2} | {
    1: _plain,
    4: _decimal_fraction,
}
