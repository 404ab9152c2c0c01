"""What of a feed's answer is new since the one before, in pieces that the decoders take; pure.

Public feeds answer with the last days each time. Handing on only what was not in the answer before keeps a poll that
brings nothing from costing a transaction, and lets a batch of half a day pass as the few hundred readings that it is.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

PIECE = 500  # readings of one message: with their addresses about half of what a decoder takes

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])


def fresh(topic: str, body: bytes, known: frozenset[int]) -> tuple[list[bytes], frozenset[int]]:
    """Messages with what is not in ``known``, and what is known from now on. Both are of one address.

    An answer that is not as expected goes on whole: the decoder says why, and it can be looked at.
    """
    what = topic.rpartition("/")[2]
    try:
        if what == "readings":
            return _pieces({}, "items", _OBJECT.decode(body)["items"], known)
        if what == "stageflow":
            answer = _OBJECT.decode(body)
            series = _OBJECT.decode(answer["observed"]) if "observed" in answer else answer
            return _pieces(series, "data", series["data"], known)
    except (msgspec.MsgspecError, KeyError, RecursionError, UnicodeDecodeError):
        pass
    now = frozenset({hash(body)})
    return ([] if now == known else [body]), now


def _pieces(
    around: Mapping[str, Any], name: str, listed: msgspec.Raw, known: frozenset[int]
) -> tuple[list[bytes], frozenset[int]]:
    items = [bytes(item) for item in _LIST.decode(listed)]
    numbers = [hash(item) for item in items]
    new = [msgspec.Raw(item) for item, number in zip(items, numbers, strict=True) if number not in known]
    others = {key: value for key, value in around.items() if key != name}
    return [
        msgspec.json.encode({**others, name: new[at : at + PIECE]}) for at in range(0, len(new), PIECE)
    ], frozenset(numbers)
