"""A JSON payload into the shape its decoder wants, or a refusal in words; for every family that speaks JSON."""

import re
from typing import TypeVar

import msgspec

from city.observations import Rejection
from ingest.decoders.said import MAX_PAYLOAD, Rejected

T = TypeVar("T")

FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # all that msgspec raises about bytes

_NOT_FINITE = re.compile(rb"[:,\[\s][-+]?(?:NaN|Infinity|inf|nan)\b")


def body(decoder: msgspec.json.Decoder[T], payload: bytes, wanted: str = "JSON") -> T | Rejected:
    """The payload as ``decoder`` knows it; refused as not_json, not_finite, wrong_shape or oversize.

    ``wanted`` completes the sentence "send …".
    """
    if len(payload) > MAX_PAYLOAD:
        return oversize(payload)
    try:
        return decoder.decode(payload)
    except FAULTS as error:
        return fault(error, payload, wanted)


def oversize(payload: bytes) -> Rejected:
    """The refusal of more bytes than any message may have."""
    return Rejected(Rejection.OVERSIZE, f"payload of {len(payload)} bytes; send at most {MAX_PAYLOAD}")


def fault(error: Exception, payload: bytes, wanted: str) -> Rejected:
    """Why msgspec did not take it."""
    sentence = " ".join(str(error).split())[:160]
    if isinstance(error, RecursionError):
        return Rejected(Rejection.WRONG_SHAPE, f"nested too deeply; send {wanted}")
    if isinstance(error, msgspec.ValidationError):
        if "out of range" in sentence:
            return Rejected(Rejection.NOT_FINITE, f"{sentence}: beyond a double; leave the value out")
        return Rejected(Rejection.WRONG_SHAPE, f"{sentence}; send {wanted}")
    if not payload.strip():
        return Rejected(Rejection.NOT_JSON, f"payload is empty; send {wanted}")
    if _NOT_FINITE.search(payload):
        return Rejected(Rejection.NOT_FINITE, "NaN and Infinity are not JSON numbers; leave the value out")
    return Rejected(Rejection.NOT_JSON, f"{sentence}; send {wanted}")
