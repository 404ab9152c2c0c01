"""What an import by a person did to single entries, for the history of each of them."""

import json
from collections.abc import Mapping, Sequence

from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from city import tracing


def imported(
    connection: Connection[TupleRow],
    entries: Sequence[tuple[str, str, Mapping[str, Sequence[str]]]],
    whole: Mapping[str, object],
    *,
    by: str,
    reason: str,
) -> None:
    """Rows of (action, object, [before, after] by field), and one that speaks of the import as a whole."""
    request = tracing.request_id.get()
    for begin in range(0, len(entries), _AT_ONCE):  # no COPY: a table with policies takes none
        part = entries[begin : begin + _AT_ONCE]
        connection.execute(
            "INSERT INTO audit (actor, action, object, reason, detail, request)"
            " SELECT %s, u.action, u.thing, %s, u.said, %s FROM unnest(%s::text[], %s::text[], %s::jsonb[])"
            " WITH ORDINALITY AS u (action, thing, said, place) ORDER BY u.place",
            (
                by,
                reason,
                request,
                [action for action, _, _ in part],
                [thing for _, thing, _ in part],
                [_said(changes) for _, _, changes in part],
            ),
        )
    connection.execute(
        "INSERT INTO audit (actor, action, object, reason, detail, request)"
        " VALUES (%s, 'register.imported', 'register', %s, %s, %s)",
        (by, reason, Jsonb(dict(whole)), request),
    )


def _said(changes: Mapping[str, Sequence[str]]) -> str:
    if not changes:
        return _NOTHING
    sides = {
        "import": True,
        "before": {name: pair[0] for name, pair in changes.items()},
        "after": {name: pair[1] for name, pair in changes.items()},
    }
    return json.dumps(sides, ensure_ascii=False)


_AT_ONCE = 5_000
_NOTHING = '{"import": true, "before": {}, "after": {}}'  # of an entry that is new or gone
