"""The warnings as an Atom feed (RFC 4287), so that other systems find new messages without being told. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from lxml import etree

from city.flood import Sent
from command_centre.flood.cap import clean
from command_centre.flood.cap_xml import MEDIA_TYPE
from command_centre.flood.warnings import plain

NAMESPACE = "http://www.w3.org/2005/Atom"
ATOM_TYPE = "application/atom+xml"
BEFORE_ALL = datetime(
    2026, 1, 1, tzinfo=UTC
)  # when there is no entry yet: a feed must say when it last changed
_N = "{" + NAMESPACE + "}"
Element = Any  # lxml's stubs know less than lxml does


def feed(
    messages: Sequence[Sent], *, base: str, district: str, name: str, name_en: str, exercise: bool
) -> bytes:
    """UTF-8 Atom of ``messages``, newest first. ``base`` is the centre's address, without a slash at the end.

    ``exercise`` says that a drill's warning is in force: the title carries it, for whoever reads only that.
    """
    root = etree.Element(_N + "feed", nsmap={None: NAMESPACE})  # type: ignore[dict-item]  # None is lxml's default prefix
    mark = "【演练 EXERCISE】" if exercise else ""
    _add(root, "id", f"urn:city:{plain(district)}:cap")
    _add(root, "title", f"{mark}{clean(name)}预警信息 {clean(name_en)} warnings")
    _add(root, "updated", _instant(messages[0].sent if messages else BEFORE_ALL))
    author = etree.SubElement(root, _N + "author")
    _add(author, "name", clean(f"{name} {name_en}").strip() or "-")
    _link(root, "self", f"{base}/cap/feed.atom", ATOM_TYPE)
    for message in messages:
        _entry(root, message, base)
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def newest_change(messages: Sequence[Sent]) -> datetime:
    """When the feed last changed."""
    return messages[0].sent if messages else BEFORE_ALL


def _entry(root: Element, message: Sent, base: str) -> None:
    entry = etree.SubElement(root, _N + "entry")
    _add(entry, "id", f"urn:city:cap:{message.identifier}")
    _add(entry, "title", clean(f"{message.headline} / {message.headline_en}"))
    _add(entry, "updated", _instant(message.sent))
    _add(entry, "published", _instant(message.sent))
    for term, scheme in (
        ("Exercise" if message.exercise else "Actual", "status"),
        (message.message_type, "msgType"),
        (message.colour, "colour"),
    ):
        etree.SubElement(entry, _N + "category", term=term, scheme=f"urn:city:cap:{scheme}")
    _link(entry, "alternate", f"{base}/cap/{message.identifier}.xml", MEDIA_TYPE)
    _add(entry, "summary", clean(message.headline_en))


def _add(parent: Element, name: str, text: str) -> None:
    etree.SubElement(parent, _N + name).text = text


def _link(parent: Element, rel: str, href: str, media_type: str) -> None:
    etree.SubElement(parent, _N + "link", rel=rel, href=href, type=media_type)


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
