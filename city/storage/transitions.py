"""Alarm transitions and rule state, written in the transaction of the observations they rest on."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from psycopg import Connection
from psycopg.types.json import Jsonb

from city.alarms import Cleared, Raised, Repeated, Transition
from city.observations import instant

Db = Connection[Any]

# A late alarm waits for the rest of its backlog, which may clear it again.
LATE_PATIENCE = timedelta(seconds=3)


class StateRow(Protocol):
    """What a rule remembers of one device."""

    @property
    def rule_id(self) -> str: ...
    @property
    def device_id(self) -> int: ...
    @property
    def state(self) -> Mapping[str, object]: ...


def write_transitions(connection: Db, transitions: Sequence[Transition], *, now: datetime) -> None:
    """Apply transitions in their order; an episode that is open already is counted on, never opened twice."""
    with connection.pipeline():
        for transition in transitions:
            match transition:
                case Raised():
                    _raise(connection, transition, now)
                case Repeated():
                    connection.execute(
                        "UPDATE alarms SET repeats = repeats + %s WHERE rule_id = %s AND device_id = %s"
                        " AND metric_id IS NOT DISTINCT FROM %s AND cleared_at IS NULL",
                        [transition.count, transition.rule_id, transition.device_id, transition.metric_id],
                    )
                case Cleared():
                    _clear(connection, transition)


def _raise(connection: Db, raised: Raised, now: datetime) -> None:
    over = raised.cleared_us is not None
    connection.execute(
        """
        WITH raised AS (
            INSERT INTO alarms AS a (rule_id, rule_version, device_id, cell_id, metric_id, category, level, class,
                                     raised_at, cleared_at, late, page_after, triage, evidence)
            SELECT %(rule)s, %(version)s, d.id, d.cell_id, %(metric)s, %(category)s, %(level)s, %(class)s, %(raised)s,
                   %(cleared)s, %(late)s, %(page)s, %(triage)s, %(evidence)s
            FROM devices d WHERE d.id = %(device)s
            ON CONFLICT (rule_id, device_id, cell_id, metric_id) WHERE cleared_at IS NULL
                DO UPDATE SET repeats = a.repeats + 1
            RETURNING id, (xmax = 0) AS inserted
        )
        INSERT INTO changes (kind, object) SELECT 'alarm.raised', id::text FROM raised WHERE inserted AND %(tell)s
        """,
        {
            "rule": raised.rule_id,
            "version": raised.rule_version,
            "device": raised.device_id,
            "metric": raised.metric_id,
            "category": raised.category,
            "level": raised.level,
            "class": raised.incident_class,
            "raised": instant(raised.raised_us),
            "cleared": instant(raised.cleared_us) if raised.cleared_us is not None else None,
            "late": raised.late,
            "page": now + LATE_PATIENCE if raised.late else datetime.min.replace(tzinfo=UTC),
            "triage": "recorded" if over else "new",
            "evidence": Jsonb(dict(raised.evidence)),
            "tell": not over,
        },
    )


def _clear(connection: Db, cleared: Cleared) -> None:
    connection.execute(
        """
        WITH cleared AS (
            UPDATE alarms SET cleared_at = greatest(%s, raised_at),
                evidence = evidence || jsonb_build_object('cleared', %s::jsonb)
            WHERE rule_id = %s AND device_id = %s AND metric_id IS NOT DISTINCT FROM %s AND cleared_at IS NULL
            RETURNING id
        )
        INSERT INTO changes (kind, object) SELECT 'alarm.cleared', id::text FROM cleared
        """,
        [
            instant(cleared.cleared_us),
            Jsonb(dict(cleared.evidence)),
            cleared.rule_id,
            cleared.device_id,
            cleared.metric_id,
        ],
    )


def write_states(connection: Db, states: Sequence[StateRow]) -> None:
    """Remember changed rule state; the last row for a (rule, device) wins."""
    last = {(row.rule_id, row.device_id): row.state for row in states}
    connection.execute(
        """
        INSERT INTO rule_states (rule_id, device_id, state)
        SELECT * FROM unnest(%s::text[], %s::int[], %s::jsonb[])
        ON CONFLICT (rule_id, device_id) DO UPDATE SET state = excluded.state
        """,
        [[key[0] for key in last], [key[1] for key in last], [Jsonb(dict(state)) for state in last.values()]],
    )


def load_states(connection: Db) -> Iterable[tuple[str, int, dict[str, object]]]:
    """Every remembered (rule, device, state); order is not defined."""
    yield from connection.execute("SELECT rule_id, device_id, state FROM rule_states")


def active_rules(connection: Db) -> list[tuple[str, int, dict[str, object]]]:
    """(id, version, definition) of the rules in force."""
    return connection.execute("SELECT id, version, definition FROM rules WHERE active ORDER BY id").fetchall()
