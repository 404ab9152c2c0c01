"""What is wrong with a payload that should have been JSON, in one reason and one sentence."""

import re

import msgspec

from city.observations import Rejection
from ingest.decoders.said import MAX_PAYLOAD, Rejected

FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # all that msgspec raises about bytes

_NOT_FINITE = re.compile(rb"[:,\[\s][-+]?(?:NaN|Infinity|inf|nan)\b")


def oversize(payload: bytes) -> Rejected | None:
    """A refusal when there are more bytes than any message may have."""
    if len(payload) <= MAX_PAYLOAD:
        return None
    return Rejected(Rejection.OVERSIZE, f"payload of {len(payload)} bytes; send at most {MAX_PAYLOAD}")


def json_fault(error: Exception, payload: bytes, wanted: str) -> Rejected:
    """Why msgspec did not take it; ``wanted`` says what should have come instead."""
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
