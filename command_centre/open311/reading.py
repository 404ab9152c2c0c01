"""What other servers of GeoReport v2 answer, read without trusting them: no DTD, no entities, no network, bounded.

Servers differ: codes come as numbers with leading zeros (no JSON at all), lists without their wrapper, errors in an
older form. Every value is read as text, ``None`` where it is empty.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lxml import etree

LARGEST = 4 * 1024 * 1024  # bytes of an answer
_LISTS: Mapping[str, str] = {
    "services": "service",
    "attributes": "attribute",
    "values": "value",
    "service_requests": "request",
    "errors": "error",
    "endpoints": "endpoint",
    "formats": "format",
}
_STRING_OR_ZEROS = re.compile(r'("(?:[^"\\]|\\.)*")|(?<![\w.+-])(0\d+)(?![\w.])')
Element = Any  # lxml's elements are typed by stubs that know less than lxml does


class ReadingError(ValueError):
    """An answer that is no GeoReport; says what is wrong with it."""


def read_xml(content: bytes) -> object:
    """A list of mappings for lists, a mapping for a definition; raises ReadingError."""
    if len(content) > LARGEST:
        raise ReadingError(f"{len(content)} bytes: at most {LARGEST} are read")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        raise ReadingError(f"no XML: {error}") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise ReadingError("a DTD is not read: it may hide entities")
    if root.tag == "error":  # the older form: one error, its text inside
        return [{"code": None, "description": (root.text or "").strip() or None}]
    return _value(root)


def _value(element: Element) -> object:
    children = [child for child in element if isinstance(child.tag, str)]
    one = _LISTS.get(element.tag)
    if one is not None:
        return [_value(child) for child in children if child.tag == one]
    if not children:
        return (element.text or "").strip() or None
    read: dict[str, object] = {}
    bare: list[object] = []
    for child in children:
        if child.tag == "attribute":  # a definition whose list has no wrapper
            bare.append(_value(child))
        else:
            read[child.tag] = _value(child)
    return read | {"attributes": bare} if bare else read


def read_json(content: bytes) -> object:
    """The same of JSON; numbers as they were written, so that ``001`` stays itself. Raises ReadingError."""
    if len(content) > LARGEST:
        raise ReadingError(f"{len(content)} bytes: at most {LARGEST} are read")
    try:
        text = content.decode("utf-8-sig")
        return _texts(json.loads(_outside_strings(text), parse_int=str, parse_float=str))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ReadingError(f"no JSON: {error}") from error


def _outside_strings(text: str) -> str:
    """Numbers with leading zeros put into quotes, and nothing inside a string touched."""
    return _STRING_OR_ZEROS.sub(lambda found: found[1] or f'"{found[2]}"', text)


def _texts(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _texts(part) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_texts(part) for part in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return (value.strip() or None) if isinstance(value, str) else value
