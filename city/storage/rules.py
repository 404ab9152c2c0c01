"""Rules and their versions: what is in force, what was, who moved it and why.

A version is never rewritten (the schema refuses it). Every writer holds ``lock`` until its transaction ends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, LiteralString

from psycopg import Connection
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from city.storage import audit as records
from city.storage.database import nudge

Db = Connection[Any]
State = Literal["draft", "active", "retired"]
Action = Literal["activate", "rollback", "retire"]

IMPORT = "import"  # who writes what stands in the district's own files
_LOCK = 7235_0007  # advisory: one change of the rule set at a time

_COLUMNS: LiteralString = """
    id AS rule_id, version, definition, source, state, created_by AS author, reason, created_at, based_on, digest
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleVersion:
    """One version of one rule; ``definition`` is what ``rules.definitions.to_rows`` made."""

    rule_id: str
    version: int
    definition: dict[str, object]
    source: str  # the file it came from; "" = written here
    state: State
    author: str
    reason: str
    created_at: datetime
    based_on: int | None
    digest: str


def lock(connection: Db) -> None:
    """One change of the rule set at a time: checks are about the whole set."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))


def active(connection: Db) -> list[RuleVersion]:
    """What is in force, by id."""
    return _versions(connection, "WHERE active ORDER BY id")


def newest(connection: Db) -> dict[str, RuleVersion]:
    """The newest version of every rule by id, in force or not."""
    found = _versions(
        connection, "WHERE (id, version) IN (SELECT id, max(version) FROM rules GROUP BY id) ORDER BY id"
    )
    return {version.rule_id: version for version in found}


def versions(connection: Db, rule_id: str) -> list[RuleVersion]:
    """Every version of one rule, newest first; empty for a rule that never was."""
    return _versions(connection, "WHERE id = %s ORDER BY version DESC", rule_id)


def version(connection: Db, rule_id: str, number: int) -> RuleVersion | None:
    """One version."""
    found = _versions(connection, "WHERE id = %s AND version = %s", rule_id, number)
    return found[0] if found else None


def current(connection: Db, rule_id: str) -> RuleVersion | None:
    """What people mean by the rule: the version in force, else the newest."""
    found = _versions(connection, "WHERE id = %s ORDER BY active DESC, version DESC LIMIT 1", rule_id)
    return found[0] if found else None


def _versions(connection: Db, where: LiteralString, *parameters: object) -> list[RuleVersion]:
    cursor = connection.cursor(row_factory=class_row(RuleVersion))
    query = f"SELECT {_COLUMNS} FROM rules {where}"  # noqa: S608 - constants of this module
    return cursor.execute(query, parameters).fetchall()


def listed(connection: Db, *, state: State | None, after: str | None, limit: int) -> list[dict[str, Any]]:
    """Rules by id with open alarms, last move and drafts that wait: the version in force, else the newest.

    ``state`` None lists every rule; "draft" lists the newest draft of each rule that has one waiting.
    """
    return (
        connection.cursor(row_factory=dict_row)
        .execute(
            """
            SELECT c.*, coalesce(o.open_alarms, 0) AS open_alarms, coalesce(d.drafts, 0) AS drafts,
                h.at AS last_action_at, h.actor AS last_action_by, h.action AS last_action
            FROM (
                SELECT DISTINCT ON (r.id) r.id, r.version, r.definition, r.source, r.state, r.created_by AS author,
                    r.reason, r.created_at, r.based_on, r.digest
                FROM rules r LEFT JOIN rules a ON a.id = r.id AND a.active
                WHERE %(state)s::text IS DISTINCT FROM 'draft'
                    OR (r.state = 'draft' AND r.version > coalesce(a.version, 0))
                ORDER BY r.id, r.active DESC, r.version DESC
            ) c
            LEFT JOIN (
                SELECT rule_id, count(*) AS open_alarms FROM alarms WHERE cleared_at IS NULL GROUP BY rule_id
            ) o ON o.rule_id = c.id
            LEFT JOIN (
                SELECT w.id, count(*) AS drafts FROM rules w LEFT JOIN rules a ON a.id = w.id AND a.active
                WHERE w.state = 'draft' AND w.version > coalesce(a.version, 0) GROUP BY w.id
            ) d ON d.id = c.id
            LEFT JOIN LATERAL (
                SELECT at, actor, action FROM rule_history WHERE rule_id = c.id ORDER BY id DESC LIMIT 1
            ) h ON true
            WHERE (%(state)s::text IS NULL OR c.state = %(state)s) AND (%(after)s::text IS NULL OR c.id > %(after)s)
            ORDER BY c.id LIMIT %(limit)s
            """,
            {"state": state, "after": after, "limit": limit},
        )
        .fetchall()
    )


def open_alarms(connection: Db, rule_id: str) -> int:
    """How many of its episodes stand."""
    row = connection.execute(
        "SELECT count(*) FROM alarms WHERE rule_id = %s AND cleared_at IS NULL", (rule_id,)
    ).fetchone()
    return int(row[0]) if row else 0


def fired(connection: Db, since: datetime) -> list[dict[str, Any]]:
    """By rule: its newest episode since then (``last_raised_at``) and how many there were (``last_30_days``)."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            SELECT rule_id AS rule, max(raised_at) AS last_raised_at, count(*) AS last_30_days
            FROM alarms WHERE raised_at >= %s AND NOT exercise GROUP BY rule_id ORDER BY rule_id
            """,
            (since,),
        ).fetchall()


def history(connection: Db, rule_id: str) -> list[dict[str, Any]]:
    """Every move of one rule, newest first."""
    return (
        connection.cursor(row_factory=dict_row)
        .execute(
            "SELECT at, action, actor, reason, from_version, to_version FROM rule_history"
            " WHERE rule_id = %s ORDER BY id DESC",
            (rule_id,),
        )
        .fetchall()
    )


# ── changes ──────────────────────────────────────────────────────────────────────────────────────────


def insert_draft(
    connection: Db,
    rule_id: str,
    definition: Mapping[str, object],
    *,
    author: str,
    reason: str,
    source: str = "",
    based_on: int | None = None,
) -> RuleVersion:
    """A new version, not in force. The author's own draft that says the same and is the newest is taken instead."""
    known = versions(connection, rule_id)
    latest = known[0] if known else None
    same = latest is not None and (latest.state, latest.author) == ("draft", author)
    if latest is not None and same and latest.definition == dict(definition):
        return latest
    number = latest.version + 1 if latest else 1
    written = (
        connection.cursor(row_factory=class_row(RuleVersion))
        .execute(
            "INSERT INTO rules (id, version, definition, source, active, created_by, reason, based_on)"  # noqa: S608 - as above
            f" VALUES (%s, %s, %s, %s, false, %s, %s, %s) RETURNING {_COLUMNS}",
            (rule_id, number, Jsonb(dict(definition)), source, author, reason, based_on),
        )
        .fetchone()
    )
    assert written is not None  # noqa: S101 - an insert returns its row
    return written


def put_in_force(
    connection: Db, rule_id: str, number: int | None, *, action: Action, actor: str, reason: str
) -> int | None:
    """Make ``number`` (None = nothing) the version in force; returns the one that was. Ingest follows by itself."""
    row = connection.execute("SELECT version FROM rules WHERE id = %s AND active", (rule_id,)).fetchone()
    before = int(row[0]) if row else None
    connection.execute("UPDATE rules SET active = false WHERE id = %s AND active", (rule_id,))
    if number is not None:
        connection.execute("UPDATE rules SET active = true WHERE id = %s AND version = %s", (rule_id, number))
    connection.execute(
        "INSERT INTO rule_history (rule_id, action, actor, reason, from_version, to_version)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        (rule_id, action, actor, reason, before, number),
    )
    connection.execute("INSERT INTO changes (kind, object) VALUES ('rule.changed', %s)", (rule_id,))
    nudge(connection)
    return before


def audit(
    connection: Db, action: str, rule_id: str, *, actor: str, reason: str, detail: Mapping[str, object]
) -> None:
    """Who did what to a rule: one row beside those of every other change."""
    records.record(connection, actor=actor, action=action, subject=rule_id, reason=reason, detail=detail)


# ── the district's own files ─────────────────────────────────────────────────────────────────────────

FileRule = tuple[str, dict[str, object], str]  # id, definition, source


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRules:
    """What taking in a set of rule files did; ids."""

    changed: tuple[str, ...]  # a new version, or an old one again, is in force
    ended: tuple[str, ...]  # no longer in the files
    drafts: tuple[str, ...]  # the file changed, and so did a person: the person's stays, the file's waits
    kept: tuple[str, ...]  # a person's, in no file


def take_files(connection: Db, wanted: Sequence[FileRule]) -> FileRules:
    """Make the rules in force those of the files, except where a person decided otherwise since.

    A definition that changed is a new version: alarms name the version they were raised by.
    """
    lock(connection)
    changed, ended, drafts, kept = [], [], [], []
    for rule_id, definition, source in wanted:
        match _take(connection, rule_id, definition, source):
            case "changed":
                changed.append(rule_id)
            case "draft":
                drafts.append(rule_id)
    named = {rule_id for rule_id, _, _ in wanted}
    for rule in active(connection):
        if rule.rule_id in named:
            continue
        if _as_imported(connection, rule.rule_id, versions(connection, rule.rule_id)):
            reason = "no longer in the district's files"
            put_in_force(connection, rule.rule_id, None, action="retire", actor=IMPORT, reason=reason)
            ended.append(rule.rule_id)
        else:
            kept.append(rule.rule_id)
    return FileRules(changed=tuple(changed), ended=tuple(ended), drafts=tuple(drafts), kept=tuple(kept))


def imported_sources(connection: Db) -> list[str]:
    """The files of the rules that were imported last, less those that a later import ended."""
    rows = connection.execute(
        """
        SELECT DISTINCT ON (r.id) r.source FROM rules r
        JOIN LATERAL (
            SELECT actor, to_version FROM rule_history WHERE rule_id = r.id ORDER BY id DESC LIMIT 1
        ) h ON h.actor <> %(importer)s OR h.to_version IS NOT NULL
        WHERE r.created_by = %(importer)s ORDER BY r.id, r.version DESC
        """,
        {"importer": IMPORT},
    )
    return [str(row[0]) for row in rows]


def untouched(connection: Db, source: str) -> bool:
    """Whether the rules are as imported from files under ``source`` and no person changed, added or ended one."""
    row = connection.execute(
        """
        SELECT coalesce(bool_and(created_by = %(importer)s AND starts_with(source, %(source)s)), true)
            AND NOT EXISTS (
                SELECT FROM (SELECT DISTINCT ON (rule_id) actor FROM rule_history ORDER BY rule_id, id DESC) h
                WHERE actor <> %(importer)s)
        FROM rules WHERE active
        """,
        {"importer": IMPORT, "source": source},
    ).fetchone()
    return row is not None and bool(row[0])


def _take(
    connection: Db, rule_id: str, definition: dict[str, object], source: str
) -> Literal["same", "changed", "draft"]:
    known = versions(connection, rule_id)
    imported = next((version for version in known if version.author == IMPORT), None)
    in_force = next((version for version in known if version.state == "active"), None)
    says_the_same = imported is not None and imported.definition == definition
    if not _as_imported(connection, rule_id, known):
        if says_the_same or (in_force is not None and in_force.definition == definition):
            return "same"
        reason = f"{source} changed after a person had changed the rule"
        based_on = imported.version if imported else None
        insert_draft(
            connection, rule_id, definition, author=IMPORT, reason=reason, source=source, based_on=based_on
        )
        return "draft"
    if imported is not None and says_the_same:
        moved = imported.source != source
        if moved:
            connection.execute(
                "UPDATE rules SET source = %s WHERE id = %s AND version = %s",
                (source, rule_id, imported.version),
            )
        if in_force is not None:
            return "changed" if moved else "same"
        number = imported.version
    else:
        based_on = imported.version if imported else None
        number = insert_draft(
            connection, rule_id, definition, author=IMPORT, reason="", source=source, based_on=based_on
        ).version
    put_in_force(connection, rule_id, number, action="activate", actor=IMPORT, reason=source)
    return "changed"


def _as_imported(connection: Db, rule_id: str, known: Sequence[RuleVersion]) -> bool:
    """Whether the rule stands as the last import left it, and no person decided otherwise since."""
    if not known:
        return True
    imported = next((version for version in known if version.author == IMPORT), None)
    in_force = next((version for version in known if version.state == "active"), None)
    if in_force is not None:
        return imported is not None and in_force.version == imported.version
    last = connection.execute(
        "SELECT actor FROM rule_history WHERE rule_id = %s ORDER BY id DESC LIMIT 1", (rule_id,)
    ).fetchone()
    return last is not None and last[0] == IMPORT
