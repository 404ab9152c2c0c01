"""Orders to other systems: one signed POST, no redirects, five seconds, a bounded look at the answer.

The signature is HMAC-SHA-256 over ``timestamp + "." + body`` with the unit's secret, in
``X-City-Signature`` as ``sha256=<hex>``; ``Idempotency-Key`` is the same for every attempt at one order.
docs/incidents.md shows a receiver.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlsplit

import httpx

from command_centre.notify.delivery import DeliveryError, Receipt

TIMEOUT_S = 5.0
_MOST_ANSWER = 200  # bytes of the answer kept as receipt
_TRY_LATER = frozenset({408, 425, 429})


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
) -> Receipt:
    """Deliver one order; raises DeliveryError. The client must not follow redirects (``new_client``)."""
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise DeliveryError(
            f"webhook_url {url[:200]!r} is not an http address; correct units.csv", retry=False
        )
    raw = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    timestamp = str(int(now.timestamp()))
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "X-City-Timestamp": timestamp,
        "X-City-Signature": signature(secret, timestamp, raw),
        "Idempotency-Key": key,
    }
    try:
        async with client.stream("POST", url, content=raw, headers=headers) as answer:
            words = await _beginning(answer)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise DeliveryError(
            f"webhook: {type(error).__name__} {str(error)[:200]}".rstrip(), retry=True
        ) from error
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
    return httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False)
