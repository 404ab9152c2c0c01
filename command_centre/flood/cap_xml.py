"""CAP 1.2 as bytes: written in the order the schema wants, read without trusting the sender.

What others send may be hostile: no DTD, no entities, no network, bounded size. A signature (the schema's one
open place) is passed over; whoever needs it has the bytes.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, get_args

from lxml import etree

from command_centre.flood import cap
from command_centre.flood.cap import Alert, Area, CapError, Info, Named, Resource

NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"
MEDIA_TYPE = "application/cap+xml"
LARGEST = 1024 * 1024  # bytes of one message that is read or written
_N = "{" + NAMESPACE + "}"
Element = Any  # lxml's elements are typed by stubs that know less than lxml does


def write(alert: Alert) -> bytes:
    """UTF-8 with a declaration. Raises CapError for what XML cannot carry; ``cap_check.faults`` says it before."""
    root = etree.Element(_N + "alert", nsmap={None: NAMESPACE})  # type: ignore[dict-item]  # None is lxml's default prefix, the stubs forgot it
    _add(root, "identifier", alert.identifier, always=True)
    _add(root, "sender", alert.sender, always=True)
    _add(root, "sent", cap.write_instant(alert.sent))
    _add(root, "status", alert.status)
    _add(root, "msgType", alert.message_type)
    _add(root, "source", alert.source)
    _add(root, "scope", alert.scope)
    _add(root, "restriction", alert.restriction)
    _add(root, "addresses", cap.write_listed(alert.addresses))
    for code in alert.codes:
        _add(root, "code", code)
    _add(root, "note", alert.note)
    _add(root, "references", cap.write_references(alert.references))
    _add(root, "incidents", cap.write_listed(alert.incidents))
    for info in alert.infos:
        _write_info(root, info)
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def _write_info(root: Element, info: Info) -> None:
    element = etree.SubElement(root, _N + "info")
    _add(element, "language", info.language)
    for category in info.categories:
        _add(element, "category", category)
    _add(element, "event", info.event, always=True)
    for response in info.responses:
        _add(element, "responseType", response)
    _add(element, "urgency", info.urgency)
    _add(element, "severity", info.severity)
    _add(element, "certainty", info.certainty)
    _add(element, "audience", info.audience)
    _add_named(element, "eventCode", info.event_codes)
    for name, at in (("effective", info.effective), ("onset", info.onset), ("expires", info.expires)):
        if at is not None:
            _add(element, name, cap.write_instant(at))
    _add(element, "senderName", info.sender_name)
    _add(element, "headline", info.headline)
    _add(element, "description", info.description)
    _add(element, "instruction", info.instruction)
    _add(element, "web", info.web)
    _add(element, "contact", info.contact)
    _add_named(element, "parameter", info.parameters)
    for resource in info.resources:
        _write_resource(element, resource)
    for area in info.areas:
        _write_area(element, area)


def _write_resource(info: Element, resource: Resource) -> None:
    element = etree.SubElement(info, _N + "resource")
    _add(element, "resourceDesc", resource.description, always=True)
    _add(element, "mimeType", resource.mime_type, always=True)
    if resource.size is not None:
        _add(element, "size", str(resource.size))
    _add(element, "uri", resource.uri)
    _add(element, "derefUri", resource.deref_uri)
    _add(element, "digest", resource.digest)


def _write_area(info: Element, area: Area) -> None:
    element = etree.SubElement(info, _N + "area")
    _add(element, "areaDesc", area.description, always=True)
    for polygon in area.polygons:
        _add(element, "polygon", cap.write_polygon(polygon))
    for circle in area.circles:
        _add(element, "circle", cap.write_circle(circle))
    _add_named(element, "geocode", area.geocodes)
    for name, height in (("altitude", area.altitude), ("ceiling", area.ceiling)):
        if height is not None:
            _add(element, name, format(height, "f"))


def _add(parent: Element, name: str, text: str, *, always: bool = False) -> None:
    """An element with its text; an empty one is left out unless the schema wants it."""
    if not text and not always:
        return
    element = etree.SubElement(parent, _N + name)
    try:
        element.text = text
    except ValueError as error:
        raise CapError(name, text, "holds characters that XML cannot carry; take them out") from error


def _add_named(parent: Element, name: str, listed: Sequence[Named]) -> None:
    for named in listed:
        element = etree.SubElement(parent, _N + name)
        _add(element, "valueName", named.name, always=True)
        _add(element, "value", named.value, always=True)


# ── read ─────────────────────────────────────────────────────────────────────────────────────────────


def parse(content: bytes) -> Alert:
    """What a sender said; raises CapError naming the element, its value and what is wrong."""
    root = safe_tree(content)
    if root.tag != _N + "alert":
        raise CapError("alert", root.tag, f"is no CAP 1.2 alert; its namespace is {NAMESPACE}")
    references = _text(root, "references")
    addresses, incidents = _text(root, "addresses"), _text(root, "incidents")
    return Alert(
        identifier=_word(root, "identifier"),
        sender=_word(root, "sender"),
        sent=cap.read_instant(_word(root, "sent"), "sent"),
        status=_one_of(root, "status", cap.Status),
        message_type=_one_of(root, "msgType", cap.MessageType),
        source=_text(root, "source"),
        scope=_one_of(root, "scope", cap.Scope),
        restriction=_text(root, "restriction"),
        addresses=cap.read_listed(addresses, "addresses") if addresses else (),
        codes=tuple(element.text or "" for element in root.findall(_N + "code")),
        note=_text(root, "note"),
        references=cap.read_references(references) if references else (),
        incidents=cap.read_listed(incidents, "incidents") if incidents else (),
        infos=tuple(_info(element) for element in root.findall(_N + "info")),
    )


def safe_tree(content: bytes) -> Element:
    """The root of untrusted XML; raises CapError for too much of it, for a DTD and for what is no XML."""
    if len(content) > LARGEST:
        raise CapError("alert", f"{len(content)} bytes", f"is larger than {LARGEST} bytes")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        raise CapError("alert", error.msg, "is no well-formed XML") from error
    tree: Element = root.getroottree()
    if tree.docinfo.doctype:
        raise CapError("alert", "<!DOCTYPE", "a CAP message has no document type; take it out")
    return root


def _info(element: Element) -> Info:
    times = {name: _text(element, name).strip() for name in ("effective", "onset", "expires")}
    found = {name: cap.read_instant(text, name) if text else None for name, text in times.items()}
    return Info(
        language=_text(element, "language").strip(),
        categories=_listed(element, "category", cap.Category),
        event=_needed(element, "event"),
        responses=_listed(element, "responseType", cap.Response),
        urgency=_one_of(element, "urgency", cap.Urgency),
        severity=_one_of(element, "severity", cap.Severity),
        certainty=_one_of(element, "certainty", cap.Certainty),
        audience=_text(element, "audience"),
        event_codes=_named(element, "eventCode"),
        effective=found["effective"],
        onset=found["onset"],
        expires=found["expires"],
        sender_name=_text(element, "senderName"),
        headline=_text(element, "headline"),
        description=_text(element, "description"),
        instruction=_text(element, "instruction"),
        web=_text(element, "web"),
        contact=_text(element, "contact"),
        parameters=_named(element, "parameter"),
        resources=tuple(_resource(part) for part in element.findall(_N + "resource")),
        areas=tuple(_area(part) for part in element.findall(_N + "area")),
    )


def _resource(element: Element) -> Resource:
    size = _text(element, "size").strip()
    if size and not size.lstrip("+-").isdigit():
        raise CapError("size", size, "is no whole number of bytes")
    return Resource(
        description=_needed(element, "resourceDesc"),
        mime_type=_needed(element, "mimeType"),
        size=int(size) if size else None,
        uri=_text(element, "uri"),
        deref_uri=_text(element, "derefUri"),
        digest=_text(element, "digest"),
    )


def _area(element: Element) -> Area:
    return Area(
        description=_needed(element, "areaDesc"),
        polygons=tuple(cap.read_polygon(part.text or "") for part in element.findall(_N + "polygon")),
        circles=tuple(cap.read_circle(part.text or "") for part in element.findall(_N + "circle")),
        geocodes=_named(element, "geocode"),
        altitude=_height(element, "altitude"),
        ceiling=_height(element, "ceiling"),
    )


def _height(element: Element, name: str) -> Decimal | None:
    text = _text(element, name).strip()
    if not text:
        return None
    try:
        height = Decimal(text)
    except InvalidOperation as error:
        raise CapError(name, text, "is no height in feet") from error
    if not height.is_finite():
        raise CapError(name, text, "is no height in feet")
    return height


def _named(element: Element, name: str) -> tuple[Named, ...]:
    return tuple(
        Named(name=_needed(part, "valueName"), value=_needed(part, "value"))
        for part in element.findall(_N + name)
    )


def _text(element: Element, name: str) -> str:
    found = element.find(_N + name)
    return "" if found is None else found.text or ""


def _needed(element: Element, name: str) -> str:
    if element.find(_N + name) is None:
        raise CapError(name, "", "is missing")
    return _text(element, name)


def _word(element: Element, name: str) -> str:
    word = _needed(element, name).strip()
    if not word:
        raise CapError(name, "", "is empty")
    return word


def _one_of(element: Element, name: str, known: Any) -> Any:
    return _known(_needed(element, name).strip(), name, get_args(known))


def _listed(element: Element, name: str, known: Any) -> Any:
    return tuple(
        _known((part.text or "").strip(), name, get_args(known)) for part in element.findall(_N + name)
    )


def _known(word: str, name: str, known: Iterable[str]) -> str:
    if word not in known:
        raise CapError(name, word, f"use one of {', '.join(known)}")
    return word
