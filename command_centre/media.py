"""Pictures and clips of other hosts, fetched by the centre and kept for a few minutes.

One fetch an address at a time, a bounded file, a bounded wait, a bounded folder: neither a slow recorder nor one that
never ends holds up anything else. The name is looked up once and the connection made to the address that was judged.
"""

import asyncio
import hashlib
import ipaddress
import secrets
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import urljoin
from weakref import WeakValueDictionary

import anyio
import httpx

from city.media_hosts import Hosts
from city.outgoing import refused
from command_centre.media_addresses import ENOUGH, KINDS, MediaError, Target, judged, kind

LARGEST = 64 * 1024 * 1024  # a clip of a minute or two
MOST_KEPT = 512 * 1024 * 1024
KEPT_S = 600.0
LONGEST_S = 20.0
_CONNECT_S = 3.0
_SILENT_S = 8.0
_MOST_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK = 256 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A file that can be served."""

    path: Path
    media_type: str


@dataclass
class Media:
    """One for each process; several may share the folder."""

    folder: Path
    hosts: Hosts
    _at_once: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(4))
    _fetching: "WeakValueDictionary[str, asyncio.Lock]" = field(default_factory=WeakValueDictionary)

    async def get(self, url: str) -> Kept:
        """What this address gives, fetched now or in the last minutes; raises MediaError."""
        target = judged(url, self.hosts)
        key = hashlib.sha256(url.encode()).hexdigest()
        lock = self._fetching.setdefault(key, asyncio.Lock())
        async with lock:
            kept = await asyncio.to_thread(self._kept, key)
            if kept is None:
                async with self._at_once:
                    kept = await self._fetched(target, key)
        return kept

    def _kept(self, key: str) -> Kept | None:
        for name, media_type in KINDS.items():
            path = self.folder / f"{key}.{name}"
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime < KEPT_S:
                    return Kept(path=path, media_type=media_type)
        return None

    async def _fetched(self, target: Target, key: str) -> Kept:
        await asyncio.to_thread(self.folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        part = self.folder / f".{key}.{secrets.token_hex(4)}"
        try:
            async with asyncio.timeout(LONGEST_S):
                ending = await self._into(part, target)
            path = self.folder / f"{key}.{ending}"
            await asyncio.to_thread(part.replace, path)
        except TimeoutError as error:
            raise _slow(target) from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            raise _down(target) from error
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)
        await asyncio.to_thread(clean, self.folder, keep=path)
        return Kept(path=path, media_type=KINDS[ending])

    async def _into(self, part: Path, target: Target) -> str:
        """Write what the address gives into a file; returns its ending. Follows redirects to configured hosts."""
        async with httpx.AsyncClient(
            timeout=httpx.Timeout(_SILENT_S, connect=_CONNECT_S),
            follow_redirects=False,
            trust_env=False,
            verify=_tls(),
        ) as client:
            for _ in range(_MOST_REDIRECTS + 1):
                found = await _looked_up(target)
                request = client.build_request(
                    "GET",
                    httpx.URL(target.url).copy_with(host=found),
                    headers={"Host": _host_header(target), "Accept-Encoding": "identity"},
                    extensions={"sni_hostname": target.host},
                )
                answer = await client.send(request, stream=True)
                try:
                    if answer.status_code not in _REDIRECTS:
                        return await _written(part, answer, target)
                    target = _next(target, answer, self.hosts)
                finally:
                    await answer.aclose()
        raise MediaError(502, f"{target.host} 反复转向", f"{target.host} redirects without end")


def _next(target: Target, answer: httpx.Response, hosts: Hosts) -> Target:
    """Where a redirect leads: to a configured host, and never from https down to http."""
    following = judged(urljoin(target.url, answer.headers.get("location", "")), hosts)
    if target.url.lower().startswith("https") != following.url.lower().startswith("https"):
        raise MediaError(
            502,
            f"{target.host} 转向另一种协议",
            f"{target.host} redirects to another scheme; correct the address",
        )
    return following


async def _written(part: Path, answer: httpx.Response, target: Target) -> str:
    if answer.status_code != 200:
        raise MediaError(
            502,
            f"{target.host} 答复 {answer.status_code}，图像可能已过期",
            f"{target.host} answered {answer.status_code}: it may have dropped the picture or clip",
        )
    length = answer.headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length) > LARGEST:
        raise _large(target)
    ending, written, first = None, 0, b""
    async with await anyio.open_file(part, "xb") as file:
        async for chunk in answer.aiter_raw(_CHUNK):
            written += len(chunk)
            if written > LARGEST:
                raise _large(target)
            if ending is None:
                first += chunk[:ENOUGH]
                ending = kind(first) if len(first) >= ENOUGH else None
                if len(first) >= ENOUGH and ending is None:
                    raise _strange(target)
            await file.write(chunk)
    ending = ending or kind(first)
    if ending is None:
        raise _strange(target)
    return ending


async def _looked_up(target: Target) -> str:
    """One IP address of the host that may be called.

    A name must not lead back into this machine or to a cloud's metadata service, whoever answers for it in the DNS;
    where the administrator wrote the IP address itself, that one is meant.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            target.host, target.port, type=socket.SOCK_STREAM
        )
    except (OSError, UnicodeError) as error:
        raise MediaError(
            502, f"找不到主机 {target.host}", f"the host {target.host} cannot be looked up"
        ) from error
    listed = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    for one in listed:
        why = refused(one, private=True)
        if why or (one.is_loopback and not target.literal):
            raise MediaError(
                403,
                f"{target.host} 指向不允许访问的地址 {one}",
                f"{target.host} leads to {one}, which is not called; name the address itself if it is meant",
            )
    return str(listed[0])


def _host_header(target: Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    return host if target.port in (80, 443) else f"{host}:{target.port}"


@cache
def _tls() -> ssl.SSLContext:
    """The machine's authorities, read once: reading them costs more than a request."""
    return ssl.create_default_context()


def clean(folder: Path, *, keep: Path | None = None, now: float | None = None, most: int = MOST_KEPT) -> None:
    """Remove what is too old, then the oldest until the folder holds ``most`` bytes; ``keep`` stays."""
    files: list[tuple[float, int, Path]] = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            found = path.stat()
            files.append((found.st_mtime, found.st_size, path))
    oldest = (time.time() if now is None else now) - KEPT_S
    total = sum(size for _, size, _ in files)
    for at, size, path in sorted(files):
        if path != keep and (at < oldest or (total > most and not path.name.startswith("."))):
            path.unlink(missing_ok=True)
            total -= size


def _slow(target: Target) -> MediaError:
    return MediaError(
        504,
        f"{target.host} 在 {LONGEST_S:.0f} 秒内未给出图像",
        f"{target.host} did not give the picture or clip within {LONGEST_S:.0f} s",
    )


def _down(target: Target) -> MediaError:
    return MediaError(
        502, f"无法连接 {target.host}，请稍后重试", f"{target.host} cannot be reached; try again later"
    )


def _large(target: Target) -> MediaError:
    most = LARGEST // 1024 // 1024
    return MediaError(
        502, f"{target.host} 的图像超过 {most} MB", f"what {target.host} gives is larger than {most} MB"
    )


def _strange(target: Target) -> MediaError:
    return MediaError(
        502,
        f"{target.host} 给出的不是 JPEG、PNG、WebP、MP4 或 WebM",
        f"what {target.host} gives is no JPEG, PNG, WebP, MP4 or WebM",
    )
