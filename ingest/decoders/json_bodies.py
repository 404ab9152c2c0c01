"""A JSON payload into the shape its decoder wants, or a refusal in words; for every family that speaks JSON."""

import re
from typing import TypeVar

import msgspec

from city.observations import Rejection
from ingest.decoders.said import Rejected

T = TypeVar("T")

_NOT_FINITE = re.compile(rb"[:,\[\s]-?(?:NaN|Infinity|inf|nan)\b")


def body(decoder: msgspec.json.Decoder[T], payload: bytes) -> T | Rejected:
    """The payload as ``decoder`` knows it; refused as not_json, not_finite or wrong_shape."""
    if not payload:
        return Rejected(Rejection.NOT_JSON, "payload is empty; send JSON")
    try:
        return decoder.decode(payload)
    except msgspec.ValidationError as error:
        return Rejected(Rejection.WRONG_SHAPE, _sentence(error))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if _NOT_FINITE.search(payload):
            return Rejected(Rejection.NOT_FINITE, "NaN and Infinity are not JSON numbers; send null instead")
        return Rejected(Rejection.NOT_JSON, _sentence(error))
    except RecursionError:
        return Rejected(Rejection.WRONG_SHAPE, "nested too deeply; no sender of this family nests so deep")


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
