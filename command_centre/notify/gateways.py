"""Messages through other people's services (DingTalk, Feishu, WeCom, SMS gateways, MQTT, …), by apprise.

apprise blocks, so it runs in threads of its own: a gateway that hangs takes one of AT_ONCE, for as long as its own
time-outs let it; whoever finds none free is tried again later. Its addresses hold tokens, and its log may name them,
so its log is off.
"""

import asyncio
import importlib
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from city.contacts import ContactError
from city.outgoing import Allowed
from command_centre.notify import addresses
from command_centre.notify.delivery import DeliveryError, Receipt

AT_ONCE = 8
LONGEST_S = 20.0
logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)


class Gateways:
    """The threads; ``close`` does not wait for one that hangs."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="gateway")
        self._busy = 0

    def close(self) -> None:
        """Take no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def send(self, address: str, title: str, text: str, *, allowed: Allowed) -> Receipt:
        """Deliver one message; raises DeliveryError, which never names the address."""
        try:
            addresses.check("apprise", address)
        except ContactError as error:
            raise DeliveryError(str(error), retry=False) from error
        scheme = urlsplit(address).scheme.lower()
        host = addresses.own_host(address)
        if host is not None:
            await addresses.resolve(host, urlsplit(address).port or 443, allowed)
        if self._busy >= AT_ONCE:
            raise DeliveryError("all gateways' threads are busy", retry=True)
        self._busy += 1
        working = asyncio.get_running_loop().run_in_executor(self._threads, _notify, address, title, text)
        working.add_done_callback(self._over)
        try:
            async with asyncio.timeout(LONGEST_S):
                await asyncio.shield(working)
        except TimeoutError as error:
            raise DeliveryError(f"{scheme}: no answer within {LONGEST_S:.0f} s", retry=True) from error
        return Receipt(status="sent", words=f"taken by {scheme}")

    def _over(self, working: "asyncio.Future[None]") -> None:
        self._busy -= 1
        if not working.cancelled():
            working.exception()  # looked at: nobody may be waiting any more


def usable(address: str) -> bool:
    """Whether apprise can read it; it says no more than that."""
    return _gateway(address) is not None


def _notify(address: str, title: str, text: str) -> None:
    """In a thread of its own."""
    scheme = urlsplit(address).scheme
    try:
        gateway = _gateway(address)
        taken = gateway is not None and bool(gateway.notify(body=text, title=title))
    except Exception as error:  # a plugin's own mistake, whose text may hold the address
        raise DeliveryError(f"{scheme}: {type(error).__name__}", retry=True) from None
    if gateway is None:
        raise DeliveryError(f"{scheme}: the address cannot be read; correct the contact", retry=False)
    if not taken:
        raise DeliveryError(f"{scheme}: not taken by the service", retry=True)


def _gateway(address: str) -> Any:
    """The plugin's own object, or None for an address it cannot read; nothing of it is kept on the disk.

    Only the plugin that is named is loaded: looking all 255 of them through, as apprise itself does, would stop every
    other thread of the process for seconds.
    """
    import apprise  # noqa: PLC0415  # a second, which a centre without such addresses need not spend

    module, _, name = addresses.PLUGINS[urlsplit(address).scheme.lower()].rpartition(".")
    plugin = getattr(importlib.import_module(f"apprise.plugins.{module}"), name)
    asset = apprise.AppriseAsset(
        app_id="City",
        app_desc="City command centre",
        secure_logging=True,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )
    parsed = plugin.parse_url(address)
    try:
        return plugin(**parsed, asset=asset) if parsed else None
    except TypeError:  # how apprise says that a part is missing
        return None
