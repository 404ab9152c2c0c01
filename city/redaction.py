"""What no log line may hold, taken out before it is written: secrets and what belongs to a person. Pure.

The second line of defence: nothing of ours logs such a thing on purpose. A library's own words, an exception's text
or a field that somebody adds in a hurry may, so every line goes through here.
"""

import re
from collections.abc import Mapping

HIDDEN = "…"
_MOST_DEPTH = 6
_NAMES = re.compile(
    r"(^|[_.-])(password|passwd|secret|token|authorization|cookie|api_?key|key_file_content|phone|telephone|mobile"
    r"|e?mail|contact|reporter|caller|private_key)s?($|[_.-])",
    re.IGNORECASE,
)
_PATTERNS = (
    # scheme://user:password@host, as drivers repeat an address they could not use
    (re.compile(r"(?P<keep>[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s/]*@", re.IGNORECASE), rf"\g<keep>{HIDDEN}@"),
    (re.compile(r"(?P<keep>\b(?:bearer|basic)\s+)[a-z0-9._~+/=-]{6,}", re.IGNORECASE), rf"\g<keep>{HIDDEN}"),
    (
        re.compile(
            r"(?P<keep>\b(?:password|passwd|secret|token|api_?key|access_token|sig)\s*[=:]\s*[\"']?)[^\s\"'&;,]+",
            re.IGNORECASE,
        ),
        rf"\g<keep>{HIDDEN}",
    ),
    (re.compile(r"\bcity_(?:session|screen|device|oidc)=[^\s;,]+"), f"city_session={HIDDEN}"),
    # mainland mobile numbers (YD/T 1000-series plan: 11 digits from 13 to 19), with or without the country's
    (re.compile(r"(?<![\d.])(?:\+?86[ -]?)?1[3-9]\d(?:[ -]?\d{4}){2}(?![\d.]\d|\d)"), HIDDEN),
    (re.compile(r"(?<![\w.+/-])[\w.+-]{1,64}@(?P<keep>[\w-]+(?:\.[\w-]+)+)"), rf"{HIDDEN}@\g<keep>"),
)


def redacted(event: Mapping[str, object]) -> dict[str, object]:
    """The line without what its names or its texts give away; numbers and flags stay."""
    return {name: HIDDEN if _secret(name, value) else _plain(value, 0) for name, value in event.items()}


def text(said: str) -> str:
    """A text without what looks like a secret, a mobile number or a mail address."""
    for pattern, instead in _PATTERNS:
        said = pattern.sub(instead, said)
    return said


def _secret(name: str, value: object) -> bool:
    return bool(value) and not isinstance(value, bool | int | float) and _NAMES.search(name) is not None


def _plain(value: object, depth: int) -> object:
    if isinstance(value, str):
        return text(value)
    if depth >= _MOST_DEPTH:
        return HIDDEN if isinstance(value, Mapping | list | tuple) else value
    if isinstance(value, Mapping):
        return {
            name: HIDDEN if _secret(str(name), one) else _plain(one, depth + 1) for name, one in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one, depth + 1) for one in value]
    if isinstance(value, bytes):
        return text(value[:2000].decode("utf-8", "replace"))
    if value is None or isinstance(value, bool | int | float):
        return value
    return text(str(value)) if not isinstance(value, type) else value
