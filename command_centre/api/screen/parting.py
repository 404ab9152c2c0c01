"""A centre that leaves sends its screens to the others, one after the other, so that no other is stormed."""

import asyncio
import random
from collections.abc import Callable, Sequence

import structlog

from city.storage import centres
from command_centre.api.screen.feed import Pool
from command_centre.api.screen.guests import LEAVING, Dismissed
from command_centre.api.screen.hub import Hub
from command_centre.leaving import Leaving
from command_centre.waking import rest

SHARE = 0.8  # of the time to leave; the rest is for those who found their way back to us

log = structlog.get_logger(__name__)


def moments(screens: int, seconds: float, draw: Callable[[], float]) -> Sequence[float]:
    """Waits before each of so many screens, in seconds, ``seconds`` altogether at most; ``draw`` gives 0 to 1.

    Evenly, each within its own part of the time: never two at once by chance, as times drawn freely would have it.
    """
    part = seconds / max(1, screens)
    at = [part * (number + draw()) for number in range(screens)]
    return [after - before for before, after in zip([0.0, *at], at, strict=False)]


async def see_off(hub: Hub, leaving: Leaving, pool: Pool, own: str, stop: asyncio.Event) -> None:
    """Wait until this centre is asked to leave; then, where another is there to take them, send the screens away.

    ``own`` is this centre's name among them. Without another the screens stay until the end: they would only come back.
    """
    await leaving.begun(stop)
    if stop.is_set() or leaving.drain_s <= 0:
        return
    async with pool.connection() as connection:
        if not await centres.others(connection, own):
            await stop.wait()
            return
    hub.closing = True
    screens = list(hub.guests)
    log.info("screens are sent to the other centres", screens=len(screens))
    for screen, wait_s in zip(
        screens, moments(len(screens), leaving.drain_s * SHARE, random.random), strict=True
    ):
        await rest(stop, wait_s)
        screen.dismiss(Dismissed(LEAVING, "this centre leaves; another is there"))
    await stop.wait()
