"""The response level: proposed by what is seen, changed by a person, never by itself."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from psycopg import AsyncConnection

from city.flood import LEVEL_NAMES, Fired, Proposal, ResponseLevel, Trigger
from city.storage import changes, flood_facts, flood_response
from command_centre.actions import ActionError
from command_centre.flood import desk as desks
from command_centre.flood.desk import Desk
from command_centre.flood.response import fired_at, propose
from command_centre.flood.triggers import check_set, definition_of, trigger_of

Connection = AsyncConnection[Any]
Row = dict[str, Any]


async def triggers(connection: Connection, desk: Desk) -> list[Trigger]:
    """The district's triggers; the first time those of the defaults."""
    rows = await flood_response.triggers(connection)
    if not rows:
        await flood_response.seed(connection, [_row(one) for one in desk.defaults.triggers])
        rows = await flood_response.triggers(connection)
    return [trigger_of({**row["definition"], **_columns(row)}) for row in rows]


async def replace_triggers(
    connection: Connection, given: Sequence[Mapping[str, Any]], *, actor: str, reason: str, now: datetime
) -> None:
    """Make the set this one; raises TriggerError before anything is written, ActionError without a reason."""
    wanted = [trigger_of(one) for one in given]
    check_set(wanted)
    why = desks.said("reason", reason)
    await flood_response.replace_triggers(
        connection, [_row(one) for one in wanted], actor=actor, reason=why, now=now
    )
    await changes.append(connection, [("flood.triggers", "changed")])


def _columns(row: Row) -> Row:
    return {name: row[name] for name in ("id", "level", "enabled")}


def _row(trigger: Trigger) -> tuple[str, str, bool, dict[str, Any]]:
    return trigger.id, trigger.level, trigger.enabled, definition_of(trigger)


# ── proposed ─────────────────────────────────────────────────────────────────────────────────────────


async def look(connection: Connection, desk: Desk, now: datetime) -> Proposal:
    """Propose from what is known now, in the caller's transaction; kept when level or triggers changed."""
    await flood_response.lock_level(connection)
    known = await flood_facts.facts(connection, now, desks.UNBELIEVED)
    standing = await flood_response.standing(connection)
    proposal = propose(
        await triggers(connection, desk), known, standing, now.astimezone(desk.zone), desk.defaults.holding
    )
    levels = fired_at(proposal, {}, now)
    if levels:
        await flood_response.note_fired(connection, levels)
    newest = await flood_response.newest_proposal(connection)
    if _differs(newest, proposal, standing.level):
        number = await flood_response.store_proposal(
            connection,
            now=now,
            level=proposal.level,
            current=standing.level,
            fired=[shown(one) for one in proposal.fired],
            words=proposal.words,
            words_en=proposal.words_en,
        )
        await changes.append(connection, [("flood.proposed", str(number))])
        # Another level is news for the log; other triggers for the same one are on the desk.
        if proposal.level != (standing.level if newest is None else newest["level"]):
            await desk.log(
                connection, now, "response", proposal.words, proposal.words_en, about=f"proposal:{number}"
            )
    return proposal


def _differs(newest: Row | None, proposal: Proposal, current: ResponseLevel | None) -> bool:
    """Whether there is news: another level, or other triggers for it; quiet before the first is none."""
    if newest is None:
        return proposal.level is not None or current is not None
    before = {one["id"] for one in newest["fired"]}
    return newest["level"] != proposal.level or before != {one.trigger.id for one in proposal.fired}


def shown(fired: Fired) -> Row:
    """A trigger that fires, as it is stored and shown: its limits are in its definition, what was seen beside it."""
    found: Row = msgspec.to_builtins(
        {
            "id": fired.trigger.id,
            "level": fired.trigger.level,
            "definition": definition_of(fired.trigger),
            "seen": list(fired.seen),
            "words": fired.words,
            "words_en": fired.words_en,
        }
    )
    return found


# ── changed by a person ──────────────────────────────────────────────────────────────────────────────


async def confirm(
    connection: Connection,
    desk: Desk,
    proposal_id: int,
    *,
    actor: str,
    reason: str,
    now: datetime,
    expected: int | None,
) -> None:
    """Put the newest proposal into force; raises ActionError when it is not the newest, or changes nothing."""
    await flood_response.lock_level(connection)
    newest = await flood_response.newest_proposal(connection)
    if newest is None or newest["id"] != proposal_id:
        there = "none" if newest is None else str(newest["id"])
        raise ActionError(
            "conflict",
            f"建议{proposal_id}不是最新的（最新：{there}），请刷新后确认",
            f"proposal {proposal_id} is not the newest ({there}): read it again before you confirm",
            "proposal",
        )
    why = desks.sayable("reason", reason) or newest["words"]
    await _change(connection, desk, newest["level"], "confirm", actor, why, now, expected, proposal_id)


async def set_level(
    connection: Connection,
    desk: Desk,
    level: ResponseLevel,
    *,
    actor: str,
    reason: str,
    now: datetime,
    expected: int | None,
) -> None:
    """Put another level into force than was proposed, with a reason."""
    why = desks.said("reason", reason)
    await flood_response.lock_level(connection)
    await _change(connection, desk, level, "set", actor, why, now, expected, None)


async def end(
    connection: Connection, desk: Desk, *, actor: str, reason: str, now: datetime, expected: int | None
) -> None:
    """No response any more, with a reason."""
    why = desks.said("reason", reason)
    await flood_response.lock_level(connection)
    await _change(connection, desk, None, "end", actor, why, now, expected, None)


async def _change(  # one row of the history
    connection: Connection,
    desk: Desk,
    level: ResponseLevel | None,
    action: str,
    actor: str,
    reason: str,
    now: datetime,
    expected: int | None,
    proposal_id: int | None,
) -> None:
    last = await flood_response.history(connection, 1)
    desks.expect(expected, last[0]["id"] if last else 0, "the response level", "响应级别")
    before = (await flood_response.standing(connection)).level
    if not desk.code:
        raise ActionError("conflict", "尚未导入区划", "there is no district yet: import one first")
    if level == before:
        name, name_en = LEVEL_NAMES[level] if level else ("未启动", "no response")
        raise ActionError(
            "conflict", f"当前已是{name}", f"{name_en} holds already: there is nothing to change"
        )
    await flood_response.change_level(
        connection,
        level=level,
        previous=before,
        action=action,
        proposal_id=proposal_id,
        actor=actor,
        reason=reason,
        now=now,
    )
    name, name_en = LEVEL_NAMES[level] if level else ("结束响应", "none")
    was, was_en = LEVEL_NAMES[before] if before else ("未启动", "none")
    text = f"应急响应：{was} → {name}。{reason}"
    await desk.log(
        connection, now, "response", text, f"Response level: {was_en} -> {name_en}. {reason}", actor=actor
    )
    await changes.append(connection, [("flood.response", level or "none"), ("district.changed", desk.code)])
