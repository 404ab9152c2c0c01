"""Messages to other systems: one signed POST, no redirects, bounded waits, a bounded look at the answer.

The body is a CloudEvents 1.0 event in JSON. The signature is HMAC-SHA-256 over ``timestamp + "." + body`` with the
receiver's secret, in ``X-City-Signature`` as ``sha256=<hex>``; ``Idempotency-Key``, which is the event's id too, is
the same for every attempt. docs/notifications.md shows a receiver.
"""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx

from city.outgoing import Allowed, authorities
from command_centre.notify import addresses
from command_centre.notify.delivery import DeliveryError, Receipt

TIMEOUT_S = 5.0
LONGEST_S = 12.0  # for all of it: a receiver that sends a byte a second does not hold a place for ever
MEDIA_TYPE = "application/cloudevents+json; charset=utf-8"
_MOST_ANSWER = 200  # bytes of the answer kept as receipt
_TRY_LATER = frozenset({408, 425, 429})


def event(
    *, key: str, kind: str, source: str, subject: str, at: datetime, data: Mapping[str, object]
) -> dict[str, object]:
    """A CloudEvents 1.0 event; ``kind`` is what follows ``city.`` in its type, ``at`` when it was written."""
    made: dict[str, object] = {
        "specversion": "1.0",
        "id": key,
        "source": source,
        "type": f"city.{kind}",
        "time": at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": dict(data),
    }
    return made | ({"subject": subject} if subject else {})


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """The value of X-City-Signature."""
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


async def send(
    client: httpx.AsyncClient,
    url: str,
    body: Mapping[str, object],
    *,
    secret: str,
    key: str,
    now: datetime,
    allowed: Allowed,
) -> Receipt:
    """Deliver one event; raises DeliveryError. The client must not follow redirects (``new_client``).

    ``allowed`` says where it may go. The name is looked up once and the connection made to
    the address that was judged, so that a name which changes in between leads nowhere else.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        host, port = None, 0
    if host is None or parts.scheme not in ("http", "https"):
        shown = addresses.masked("webhook", url)
        raise DeliveryError(
            f"webhook address {shown!r} is not an http address; correct units.csv or the contact", retry=False
        )
    raw = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    timestamp = str(int(now.timestamp()))
    headers = {
        "Host": parts.netloc.rpartition("@")[2],
        "Content-Type": MEDIA_TYPE,
        "X-City-Timestamp": timestamp,
        "X-City-Signature": signature(secret, timestamp, raw),
        "Idempotency-Key": key,
    }
    try:
        async with asyncio.timeout(LONGEST_S):
            found = await addresses.resolve(host, port, allowed)
            return await _post(client, url, host, found, raw, headers)
    except TimeoutError as error:
        raise DeliveryError(f"webhook: no answer within {LONGEST_S:.0f} s", retry=True) from error


async def _post(
    client: httpx.AsyncClient, url: str, host: str, found: list[str], raw: bytes, headers: Mapping[str, str]
) -> Receipt:
    """One POST to the first of the addresses that lets us connect."""
    for number, address in enumerate(found, start=1):
        try:
            target = httpx.URL(url).copy_with(host=address)
            async with client.stream(
                "POST", target, content=raw, headers=headers, extensions={"sni_hostname": host}
            ) as answer:
                words = await _beginning(answer)
            break
        except httpx.ConnectError as error:
            if number == len(found):
                raise DeliveryError("webhook: cannot connect", retry=True) from error
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise DeliveryError(f"webhook: {type(error).__name__}", retry=True) from error
    if answer.is_success:
        return Receipt(status=str(answer.status_code), words=words)
    later = answer.status_code >= 500 or answer.status_code in _TRY_LATER
    raise DeliveryError(f"webhook answered {answer.status_code}: {words}".rstrip(": "), retry=later)


async def _beginning(answer: httpx.Response) -> str:
    """The first bytes of an answer as plain text; a receiver that never stops talking is cut off."""
    taken = b""
    async for part in answer.aiter_raw(_MOST_ANSWER):
        taken += part
        if len(taken) >= _MOST_ANSWER:
            break
    text = taken[:_MOST_ANSWER].decode("utf-8", "replace")
    return "".join(part if part.isprintable() else " " for part in text).strip()


def new_client() -> httpx.AsyncClient:
    """A client that goes straight to the address: no redirects, no proxy, bounded waits."""
    return httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False, verify=authorities())
