"""Requests that leave the centre: which addresses they may go to, looked up once, judged, and kept to.

An address may come from an administrator, a unit, a person, a device or a redirect; a name may lead inside, and may
lead elsewhere a moment later. So whatever is called is looked up here, every address it has is judged, and the
connection is made to the one that was judged, while certificate and Host stay those of the name.
"""

import asyncio
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from functools import cache

import httpx

from city.errors import CityError
from city.media_hosts import is_host

IP = ipaddress.IPv4Address | ipaddress.IPv6Address
_PORTS = {"http": 80, "https": 443}
# Answer with the machine's own credentials, whatever range they lie in: Alibaba, AWS over IPv6, Oracle, Azure.
_METADATA = frozenset(
    ipaddress.ip_address(one) for one in ("100.100.100.200", "fd00:ec2::254", "192.0.0.192", "168.63.129.16")
)
_CARRIER = ipaddress.ip_network("100.64.0.0/10")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits


class OutgoingError(CityError):
    """A host that is not called. ``retry``: it could not be looked up just now; else it is not allowed."""

    def __init__(self, message: str, *, retry: bool) -> None:
        super().__init__(message)
        self.retry = retry


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowed:
    """Who may be called. ``private``: also hosts on private networks. ``only``: if not empty, these hosts and no other,
    by name, by ``*.name`` for everything below it, or by network."""

    private: bool
    only: frozenset[str] = frozenset()


def read_allowed(setting: str) -> frozenset[str]:
    """``hooks.example.org, *.city.lan, 10.20.0.0/16`` as entries; raises ValueError naming what is none of them."""
    found = set()
    for part in (part.strip().lower().rstrip(".") for part in setting.split(",")):
        if not part:
            continue
        if "/" in part:
            found.add(str(ipaddress.ip_network(part, strict=False)))  # raises ValueError with the words
        elif is_host(part.removeprefix("*.")):
            found.add(part)
        else:
            raise ValueError(f"{part!r} is no host; write hooks.example.org, *.city.lan or 10.20.0.0/16")
    return frozenset(found)


def refused(ip: IP, *, private: bool) -> str:
    """Why this address is not called, or an empty text; ``private`` says whether private networks may be."""
    plain = _inner(ip)
    if plain.is_link_local or plain in _METADATA:
        return f"{plain} is a link-local or metadata address"
    if plain.is_multicast or plain.is_unspecified or (plain.is_reserved and not plain.is_loopback):
        return f"{plain} is no address of one receiver"
    inside = plain.is_private or plain.is_loopback or (plain.version == 4 and plain in _CARRIER)
    return f"{plain} is on a private network" if inside and not private else ""


def _inner(ip: IP) -> IP:
    """The IPv4 address that an IPv6 address only wraps."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


async def resolve(host: str, port: int, allowed: Allowed) -> list[str]:
    """The addresses of a host, all of them allowed; raises OutgoingError. Connect to these, not to the name again."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise OutgoingError(f"host cannot be looked up: {type(error).__name__}", retry=True) from error
    listed = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
    for one in listed:
        ip = ipaddress.ip_address(one)
        if why := refused(ip, private=allowed.private):
            raise OutgoingError(f"not called: {why}", retry=False)
        if allowed.only and not _listed(host, ip, allowed.only):
            raise OutgoingError(f"not called: {host} is not in CITY_OUTGOING_HOSTS", retry=False)
    return listed


def _listed(host: str, ip: IP, only: frozenset[str]) -> bool:
    name = host.lower().rstrip(".")
    levels = name.split(".")
    if name in only or any(f"*.{'.'.join(levels[at:])}" in only for at in range(1, len(levels))):
        return True
    inner = _inner(ip)
    networks = (ipaddress.ip_network(one) for one in only if "/" in one)
    return str(inner) in only or any(inner.version == net.version and inner in net for net in networks)


@cache
def authorities() -> ssl.SSLContext:
    """Whom we believe that a server is the one it says it is; read once, as reading costs more than a request."""
    return httpx.create_ssl_context(trust_env=False)


class Guarded(httpx.AsyncBaseTransport):
    """For ``httpx.AsyncClient(transport=…)``: each request, also one that follows a redirect, goes to a judged address.

    Raises httpx.ConnectError where it may not go, as for any host that cannot be reached.
    """

    def __init__(self, allowed: Allowed, inner: httpx.AsyncBaseTransport | None = None) -> None:
        self._allowed = allowed
        self._inner = inner or httpx.AsyncHTTPTransport(trust_env=False, verify=authorities())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer of the address that was judged."""
        host = request.url.host
        if request.url.scheme not in _PORTS or not host:
            raise httpx.UnsupportedProtocol(f"{request.url.scheme} is not called", request=request)
        try:
            found = await resolve(host, request.url.port or _PORTS[request.url.scheme], self._allowed)
        except OutgoingError as error:
            raise httpx.ConnectError(str(error), request=request) from error
        pinned = httpx.Request(
            request.method,
            request.url.copy_with(host=found[0]),
            headers=request.headers,  # Host is the name's already
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": host},
        )
        return await self._inner.handle_async_request(pinned)

    async def aclose(self) -> None:
        """End the connections that are kept."""
        await self._inner.aclose()
