"""Two simulators on one broker: the one that began last speaks, the other holds its tongue until it is gone.

Without this, `city simulate fire` beside a running demonstration would have every detector say two things at
once. Each player says every ANNOUNCE_S on TOPIC when it began; who hears of a later one is silent for SILENT_S:
in the cells that the other plays, everywhere when it names none.
Nothing is kept in the broker, so a player that was killed is forgotten by itself.
"""

import json
import threading

TOPIC = "simulators/playing"  # outside city/#: no device, never stored
ANNOUNCE_S = 2.0
SILENT_S = 7.0
EVERYWHERE: frozenset[str] = frozenset()


class Turns:
    """Who has the word. Times of `begun` are epoch seconds; `now` is any steady clock in seconds."""

    def __init__(self, name: str, begun: float, cells: frozenset[str] = EVERYWHERE) -> None:
        self._mine = (begun, name)
        self._cells = cells
        self._lock = threading.Lock()
        self._heard_later = False
        self._heard_cells: set[str] = set()
        self._cells_until: dict[str, float] = {}
        self._silent_until = float("-inf")
        self._next = float("-inf")

    def hear(self, payload: bytes) -> None:
        """Take another player's announcement (or our own, or anything else on the topic: ignored)."""
        try:
            said = json.loads(payload)
            theirs = (float(said["begun"]), str(said["name"]))
            cells = frozenset(str(cell) for cell in said.get("cells", ()))
        except (ValueError, TypeError, KeyError):
            return
        if theirs > self._mine:
            with self._lock:
                if cells:
                    self._heard_cells |= cells
                else:
                    self._heard_later = True

    def announcement(self, now: float) -> bytes | None:
        """What to say on TOPIC, when it is time to say it again."""
        if now < self._next:
            return None
        self._next = now + ANNOUNCE_S
        begun, name = self._mine
        said: dict[str, object] = {"begun": begun, "name": name}
        if self._cells:
            said["cells"] = sorted(self._cells)
        return json.dumps(said).encode()

    def silent(self, now: float) -> bool:
        """Whether somebody who began later has the word."""
        with self._lock:
            if self._heard_later:
                self._heard_later = False
                self._silent_until = now + SILENT_S
        return now < self._silent_until

    def silent_cells(self, now: float) -> frozenset[str]:
        """Cells in which somebody who began later has the word."""
        with self._lock:
            for cell in self._heard_cells:
                self._cells_until[cell] = now + SILENT_S
            self._heard_cells.clear()
        self._cells_until = {cell: until for cell, until in self._cells_until.items() if now < until}
        return frozenset(self._cells_until)
