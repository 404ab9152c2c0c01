"""Alarm transitions and rule state, written in the transaction of the observations they rest on."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from psycopg import Connection, Cursor
from psycopg.types.json import Jsonb

from city.alarms import Cleared, Evidence, LevelChanged, Raised, Repeated, Transition
from city.observations import instant

Db = Connection[Any]

# A late alarm waits for the rest of its backlog, which may clear it again.
LATE_PATIENCE = timedelta(seconds=3)
REPEATS_NOTED = 50  # repeats of an episode that are noted one by one


class StateRow(Protocol):
    """What a rule remembers of one device."""

    @property
    def rule_id(self) -> str: ...
    @property
    def device_id(self) -> int: ...
    @property
    def state(self) -> Mapping[str, object]: ...


def write_transitions(
    connection: Db, transitions: Sequence[Transition], *, now: datetime
) -> list[tuple[int, str, str]]:
    """Apply transitions in their order; an episode that is open already is counted on, never opened twice.

    What raised, repeated, changed level or cleared is noted in the alarm's own events, in the same statement. Returns
    (alarm, device's code, rule) of those that were raised anew and are told of.
    """
    raised = []
    with connection.pipeline():
        for transition in transitions:
            match transition:
                case Raised():
                    raised.append(_raise(connection, transition, now))
                case Repeated():
                    _repeat(connection, transition, now)
                case LevelChanged():
                    _change_level(connection, transition)
                case Cleared():
                    _clear(connection, transition)
    return [row for cursor in raised for row in cursor.fetchall()]


def _raise(connection: Db, raised: Raised, now: datetime) -> Cursor[Any]:
    over = raised.cleared_us is not None
    return connection.execute(
        _RAISE,
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
            "triage": "recorded" if over or raised.suppressed else "new",
            "suppressed": raised.suppressed,
            "evidence": Jsonb(dict(raised.evidence)),
            "change": "alarm.suppressed" if raised.suppressed else "alarm.raised",
            "tell": not over,
        },
    )


# Whether it is exercise is asked by event time: a late alarm from before the drill is real. An open episode that was
# suppressed and is raised without that now is what nobody was told of so far: it begins its way through triage.
_RAISE = """
    WITH drill AS (
        SELECT min(d.id) AS id FROM drill_devices m JOIN drills d ON d.id = m.drill_id
        WHERE m.device_id = %(device)s AND d.opened_at <= %(raised)s
          AND %(raised)s < coalesce(d.ended_at, d.until)
    ), silenced AS (
        SELECT id FROM alarms WHERE rule_id = %(rule)s AND device_id = %(device)s
            AND metric_id IS NOT DISTINCT FROM %(metric)s AND cleared_at IS NULL AND suppressed IS NOT NULL
    ), raised AS (
        INSERT INTO alarms AS a (rule_id, rule_version, device_id, cell_id, metric_id, category, level, class,
                                 raised_at, cleared_at, late, page_after, triage, suppressed, exercise, drill_id,
                                 evidence)
        SELECT %(rule)s, %(version)s, d.id, d.cell_id, %(metric)s, %(category)s, %(level)s, %(class)s, %(raised)s,
               %(cleared)s, %(late)s, %(page)s, %(triage)s, %(suppressed)s, drill.id IS NOT NULL, drill.id,
               %(evidence)s
        FROM devices d, drill WHERE d.id = %(device)s
        ON CONFLICT (rule_id, device_id, cell_id, metric_id) WHERE cleared_at IS NULL
            DO UPDATE SET repeats = a.repeats + 1,
                suppressed = CASE WHEN excluded.suppressed IS NULL THEN NULL ELSE a.suppressed END,
                triage = CASE WHEN a.suppressed IS NOT NULL AND excluded.suppressed IS NULL THEN 'new'
                              ELSE a.triage END
        RETURNING id, (xmax = 0) AS inserted, suppressed IS NULL AND id IN (SELECT id FROM silenced) AS lifted
    ), noted AS (
        INSERT INTO alarm_events (alarm_id, at, kind, reason, evidence)
        SELECT id, e.at, e.kind, e.reason, e.evidence
        FROM raised, (VALUES
            (1, %(raised)s::timestamptz, 'raised', '', %(evidence)s::jsonb),
            (2, %(raised)s, 'suppressed', %(suppressed)s::text, '{}'),
            (3, %(cleared)s::timestamptz, 'cleared', '', '{}')) e (place, at, kind, reason, evidence)
        WHERE inserted AND e.at IS NOT NULL AND e.reason IS NOT NULL ORDER BY e.place
    ), told AS (
        INSERT INTO alarm_events (alarm_id, at, kind, evidence)
        SELECT id, %(raised)s, 'unsuppressed', %(evidence)s FROM raised WHERE lifted
    ), nudged AS (
        INSERT INTO changes (kind, object)
        SELECT %(change)s, id::text FROM raised WHERE (inserted OR lifted) AND %(tell)s
    )
    SELECT r.id, d.code, %(rule)s::text FROM raised r JOIN devices d ON d.id = %(device)s
    WHERE (r.inserted OR r.lifted) AND %(tell)s
"""


def _repeat(connection: Db, repeated: Repeated, now: datetime) -> None:
    """Count on. Noted one by one at first; of a device that never stops flapping only each hundredth is."""
    connection.execute(
        """
        WITH repeated AS (
            UPDATE alarms SET repeats = repeats + %(count)s
            WHERE rule_id = %(rule)s AND device_id = %(device)s
              AND metric_id IS NOT DISTINCT FROM %(metric)s AND cleared_at IS NULL
            RETURNING id, repeats
        )
        INSERT INTO alarm_events (alarm_id, at, kind, evidence)
        SELECT id, %(at)s, 'repeated',
               %(evidence)s || jsonb_build_object('count', %(count)s::int, 'repeats', repeats)
        FROM repeated WHERE repeats <= %(each)s OR repeats / 100 > (repeats - %(count)s) / 100
        """,
        {
            "count": repeated.count,
            "rule": repeated.rule_id,
            "device": repeated.device_id,
            "metric": repeated.metric_id,
            "at": _observed(repeated.evidence) or now,
            "evidence": Jsonb(dict(repeated.evidence)),
            "each": REPEATS_NOTED,
        },
    )


def _observed(evidence: Evidence) -> datetime | None:
    """The event time that an evidence names, if it does."""
    try:
        at = datetime.fromisoformat(str(evidence.get("observed_at")))
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


def _change_level(connection: Db, changed: LevelChanged) -> None:
    """Move the open episode's level. Risen, it waits for triage and for an acknowledgement again (re-alarm).

    The same level again changes nothing, so a batch that is delivered twice tells nobody twice.
    """
    connection.execute(
        """
        WITH before AS (
            SELECT id, level, class FROM alarms
            WHERE rule_id = %(rule)s AND device_id = %(device)s
              AND metric_id IS NOT DISTINCT FROM %(metric)s AND cleared_at IS NULL
              AND (level, class) IS DISTINCT FROM (%(level)s::text, %(class)s::text)
            FOR NO KEY UPDATE
        ), changed AS (
            UPDATE alarms a SET level = %(level)s, class = %(class)s,
                level_since = greatest(%(at)s::timestamptz, a.raised_at),
                evidence = a.evidence || jsonb_build_object('level_changed', %(evidence)s::jsonb),
                acknowledged_at = CASE WHEN %(risen)s THEN NULL ELSE a.acknowledged_at END,
                acknowledged_by = CASE WHEN %(risen)s THEN NULL ELSE a.acknowledged_by END,
                triage = CASE WHEN %(risen)s AND a.triage = 'done' THEN 'new' ELSE a.triage END
            FROM before WHERE a.id = before.id
            RETURNING a.id, before.level AS was, before.class AS was_class, a.level_since
        ), noted AS (
            INSERT INTO alarm_events (alarm_id, at, kind, evidence)
            SELECT id, level_since, %(kind)s, %(evidence)s::jsonb || jsonb_strip_nulls(jsonb_build_object(
                'from', was, 'to', %(level)s::text, 'class_from', was_class, 'class_to', %(class)s::text,
                'rule_version', %(version)s::int)) FROM changed
        )
        INSERT INTO changes (kind, object) SELECT %(change)s, id::text FROM changed
        """,
        {
            "rule": changed.rule_id,
            "version": changed.rule_version,
            "device": changed.device_id,
            "metric": changed.metric_id,
            "level": changed.level,
            "class": changed.incident_class,
            "at": instant(changed.changed_us),
            "risen": changed.risen,
            "kind": "level_raised" if changed.risen else "level_lowered",
            "change": "alarm.level_raised" if changed.risen else "alarm.level_lowered",
            "evidence": Jsonb(dict(changed.evidence)),
        },
    )


def _clear(connection: Db, cleared: Cleared) -> None:
    connection.execute(
        """
        WITH cleared AS (
            UPDATE alarms SET cleared_at = greatest(%(at)s::timestamptz, raised_at),
                evidence = evidence || jsonb_build_object('cleared', %(evidence)s::jsonb)
            WHERE rule_id = %(rule)s AND device_id = %(device)s
              AND metric_id IS NOT DISTINCT FROM %(metric)s AND cleared_at IS NULL
            RETURNING id, cleared_at
        ), noted AS (
            INSERT INTO alarm_events (alarm_id, at, kind, evidence)
            SELECT id, cleared_at, 'cleared', %(evidence)s FROM cleared
        )
        INSERT INTO changes (kind, object) SELECT 'alarm.cleared', id::text FROM cleared
        """,
        {
            "at": instant(cleared.cleared_us),
            "evidence": Jsonb(dict(cleared.evidence)),
            "rule": cleared.rule_id,
            "device": cleared.device_id,
            "metric": cleared.metric_id,
        },
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


def versions_in_force(connection: Db) -> list[tuple[str, int]]:
    """(id, version) of the rules in force, by id; a version never changes what it says."""
    return connection.execute("SELECT id, version FROM rules WHERE active ORDER BY id").fetchall()


def active_rules(connection: Db) -> list[tuple[str, int, dict[str, object]]]:
    """(id, version, definition) of the rules in force."""
    return connection.execute("SELECT id, version, definition FROM rules WHERE active ORDER BY id").fetchall()
