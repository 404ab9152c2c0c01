"""GeoReport v2 as bytes: the same rows as JSON without the root, and as XML, where each list has its word."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from lxml import etree

JSON_TYPE = "application/json; charset=utf-8"
XML_TYPE = "text/xml; charset=utf-8"
FORMATS = ("json", "xml")
_ONE_OF: Mapping[str, str] = {
    "services": "service",
    "attributes": "attribute",
    "values": "value",
    "service_requests": "request",
    "errors": "error",
    "endpoints": "endpoint",
    "formats": "format",
}
Element = Any  # lxml's elements are typed by stubs that know less than lxml does


def write(root: str, value: object, form: str) -> tuple[bytes, str]:
    """Body and media type. ``value`` is a mapping or a list of them; ``root`` names it in XML."""
    if form == "json":
        return msgspec.json.encode(value), JSON_TYPE
    element = etree.Element(root)
    _fill(element, root, value)
    return bytes(etree.tostring(element, xml_declaration=True, encoding="utf-8")), XML_TYPE


def _fill(element: Element, name: str, value: object) -> None:
    if isinstance(value, Mapping):
        for key, part in value.items():
            _fill(etree.SubElement(element, key), key, part)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for part in value:
            _fill(etree.SubElement(element, _ONE_OF[name]), _ONE_OF[name], part)
    elif isinstance(value, bool):
        element.text = "true" if value else "false"
    elif value is not None:
        element.text = str(value)
