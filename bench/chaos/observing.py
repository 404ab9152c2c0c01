"""Is everything whole again? Asked from outside, straight at the database, the centres and the screens."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable

import psycopg

from bench.chaos.stand import Stand
from bench.deadline_kill import prepare
from tests.acceptance.checker_incidents import Wall, open_incidents, wall_differs

PATIENCE_S = 120.0
FRESH_S = 1.5  # beyond the time in which every device speaks once: newest stored reading no older than this
_NEWEST = """
    SELECT extract(epoch FROM min(newest)) FROM (
        SELECT (SELECT o.observed_at FROM observations o WHERE o.device_id = d.id AND o.metric_id = m.id
                ORDER BY o.observed_at DESC LIMIT 1) AS newest
        FROM devices d, metrics m WHERE d.code = ANY(%s) AND m.code = 'smoke') one
"""
# Incidents of a person whose four steps fall due within seconds; the numbers tell the rounds apart.
_DUE = """
WITH made AS (
    INSERT INTO incidents (number, state, class, base_class, category, unit_id, reason, reason_en, source, due_at,
                           opened_at)
    SELECT 'K-' || %(round)s || '-' || n, 'acknowledged', 'B', 'B', 'fire',
           (SELECT id FROM units WHERE code = 'crew'), 'x', 'x', 'person',
           clock_timestamp() + make_interval(secs => 2.5 + random() * 2), clock_timestamp()
    FROM generate_series(1, %(count)s) n RETURNING id, unit_id, due_at), told AS (
    INSERT INTO changes (kind, object) SELECT 'incident.opened', id::text FROM made)
INSERT INTO incident_clocks (incident_id, stage, unit_id, "limit", started_at, due_at, next_at)
    SELECT id, 'handle', unit_id, '1m', due_at - interval '1 minute', due_at, due_at - interval '2.4 seconds'
    FROM made
"""


class Observer:
    """One connection of its own to the database, opened again whenever it was lost."""

    def __init__(self, stand: Stand) -> None:
        self._stand = stand
        self._held: psycopg.Connection | None = None
        self._probes = ["b000000", f"b{stand.shape.devices // 2:06d}"]  # one of each connection of the load
        prepare(stand.database)

    @property
    def connection(self) -> psycopg.Connection:
        """Raises psycopg.OperationalError while the database is away."""
        if self._held is None or self._held.closed:
            self._held = psycopg.connect(
                self._stand.database,
                connect_timeout=2,
                autocommit=True,
                options="-c statement_timeout=15000",
                application_name="chaos",
            )
        return self._held

    def drop(self) -> None:
        """Forget a connection that failed."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def fall_due(self, number: int, count: int) -> None:
        """Make incidents whose deadlines strike during the round of this number."""
        self.connection.execute(_DUE, {"round": number, "count": count})

    def stored(self, since: float) -> bool:
        """Whether what was published after `since` (epoch seconds) is being stored, without a backlog."""
        row = self.connection.execute(_NEWEST, [self._probes]).fetchone()
        shape = self._stand.shape
        oldest = max(since, time.time() - shape.devices / shape.rate - FRESH_S)
        return row is not None and row[0] is not None and float(row[0]) > oldest

    def wall(self, before: Wall) -> list[str]:
        """What some screen shows otherwise than the database had it at `before` and still has it.

        A screen that says nothing stands with its name. The number of its newest change says nothing about it: a
        transaction that died leaves a gap, and a centre waits 90 s before it counts beyond one.
        """
        wrong: list[str] = []
        for screen in self._stand.screens:
            said = screen.ask("whole", 5)
            if said is None:
                wrong.append(screen.name)
            else:
                wrong += wall_differs(before, said["incidents"], open_incidents(self.connection))
        return wrong

    def centres_ready(self) -> bool:
        """Whether both answer `/readyz` with 200, each asked by itself."""
        for host, port in self._stand.ports.values():
            try:
                with urllib.request.urlopen(f"http://{host}:{port}/readyz", timeout=2) as answer:
                    if answer.status != 200:
                        return False
            except (urllib.error.URLError, OSError):
                return False
        return True

    def recovered(self, since: float) -> dict[str, float] | None:
        """Seconds after `since` (epoch) until readings are stored, screens know, centres are ready; None = never.

        Screens count as whole when they show what was in the database when readings were stored again.
        """
        took: dict[str, float] = {}
        before: Wall = {}

        def stored() -> bool:
            if done := self.stored(since):
                before.update(open_incidents(self.connection))
            return done

        asked: tuple[tuple[str, Callable[[], bool]], ...] = (
            ("stored", stored),
            ("screens", lambda: "stored" in took and not self.wall(before)),
            ("ready", self.centres_ready),
        )
        until = time.monotonic() + PATIENCE_S
        while len(took) < len(asked):
            if time.monotonic() > until:
                return None
            for name, done in asked:
                if name not in took and self._true(done):
                    took[name] = round(time.time() - since, 2)
            self._stand.stay(0.05)
        return took

    def _true(self, done: Callable[[], bool]) -> bool:
        try:
            return done()
        except psycopg.Error:
            self.drop()
            return False
