"""Which picture or clip of an alarm may be fetched for people, and what its first bytes say that it is. Pure.

Anybody who can send telemetry can put any address into a detection. So the browser never follows one, and the
centre only those whose host an administrator named in ``CITY_MEDIA_HOSTS``.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from city.errors import CityError
from city.media_hosts import Hosts, is_host, is_ip

MOST_ADDRESSES = 20  # of one alarm
MOST_CHARACTERS = 2048
_PORTS = {"http": 80, "https": 443}
_SCHEME = re.compile(r"https?://", re.IGNORECASE)


class MediaError(CityError):
    """Why something is not shown, in both languages; ``status`` is what HTTP calls it."""

    def __init__(self, status: int, reason: str, reason_en: str) -> None:
        super().__init__(reason_en)
        self.status = status
        self.reason = reason
        self.reason_en = reason_en


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """An address that may be asked. ``literal``: the administrator named the very IP address, or localhost."""

    url: str
    host: str
    port: int
    literal: bool


def addresses(evidence: Mapping[str, object], detections: Sequence[str]) -> list[str]:
    """Every http address that an alarm rests on, its own evidence first, then those of its event; each once."""
    said: list[object] = [evidence.get("url")]
    for value in evidence.values():
        said += value if isinstance(value, list | tuple) else [value]
    found = [one for one in (*said, *detections) if isinstance(one, str) and _SCHEME.match(one)]
    return list(dict.fromkeys(found))[:MOST_ADDRESSES]


def judged(url: str, hosts: Hosts) -> Target:
    """The address as it may be asked; raises MediaError (403, or 422 for one that is malformed)."""
    if len(url) > MOST_CHARACTERS or not url.isprintable() or "\\" in url or any(c.isspace() for c in url):
        raise MediaError(422, "图像地址格式有误", "the address of the picture or clip is malformed")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        raise MediaError(
            422, "图像地址格式有误", "the address of the picture or clip is malformed"
        ) from error
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not (is_host(host)):
        raise MediaError(422, "图像地址格式有误", "the address of the picture or clip is malformed")
    if "@" in parts.netloc:
        raise MediaError(
            403,
            "图像地址带有用户名或口令，不予读取",
            "the address carries a user name or password; such are not fetched",
        )
    asked = port or _PORTS[scheme]
    if (host, asked) not in hosts and not ((host, None) in hosts and asked == _PORTS[scheme]):
        raise MediaError(403, *not_configured(host, None if asked == _PORTS[scheme] else asked))
    return Target(url=url, host=host, port=asked, literal=is_ip(host) or host == "localhost")


def not_configured(host: str, port: int | None) -> tuple[str, str]:
    """How to let a host in; Chinese, English."""
    shown = f"[{host}]" if ":" in host else host
    shown = f"{shown}:{port}" if port else shown
    return (
        f"未允许从 {shown} 读取图像，请管理员将其加入 CITY_MEDIA_HOSTS",
        f"pictures and clips of {shown} are not fetched: an administrator adds it to CITY_MEDIA_HOSTS",
    )


def shown(url: str) -> tuple[str, str]:
    """Host and file name of an address, for people; empty where it has none."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "")[:100]
    except ValueError:
        return "", ""
    name = unquote(parts.path.rsplit("/", 1)[-1])
    return host, "".join(part for part in name if part.isprintable())[:100]


def listing(found: Sequence[str], hosts: Hosts) -> list[dict[str, object]]:
    """What an alarm has to show: number, host, file, and why it is not fetched, if so."""
    items: list[dict[str, object]] = []
    for number, url in enumerate(found):
        host, name = shown(url)
        refused: MediaError | None = None
        try:
            judged(url, hosts)
        except MediaError as error:
            refused = error
        items.append(
            {
                "n": number,
                "host": host,
                "file": name,
                "refused": refused.reason if refused else None,
                "refused_en": refused.reason_en if refused else None,
            }
        )
    return items


KINDS: Mapping[str, str] = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "mp4": "video/mp4",
    "webm": "video/webm",
}
ENOUGH = 64  # first bytes that tell


def kind(first: bytes) -> str | None:
    """Which of ``KINDS`` it is by its first bytes, whatever the sender calls it; None for anything else."""
    if first.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if first.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if first[:4] == b"RIFF" and first[8:12] == b"WEBP":
        return "webp"
    if first[4:8] == b"ftyp" and first[8:12] not in _OTHER_FTYP:
        return "mp4"
    if first.startswith(b"\x1a\x45\xdf\xa3") and b"webm" in first[:ENOUGH]:
        return "webm"
    return None


_OTHER_FTYP: Collection[bytes] = frozenset(
    {b"heic", b"heix", b"avif", b"mif1", b"qt  "}
)  # no browser plays these
