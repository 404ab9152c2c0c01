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
    with connection.cursor().copy(
        "COPY audit (actor, action, object, reason, detail, request) FROM STDIN"
    ) as copy:
        for action, thing, changes in entries:
            sides = {
                "import": True,
                "before": {name: pair[0] for name, pair in changes.items()},
                "after": {name: pair[1] for name, pair in changes.items()},
            }
            said = json.dumps(sides, ensure_ascii=False) if changes else _NOTHING
            copy.write_row((by, action, thing, reason, said, request))
    connection.execute(
        "INSERT INTO audit (actor, action, object, reason, detail, request)"
        " VALUES (%s, 'register.imported', 'register', %s, %s, %s)",
        (by, reason, Jsonb(dict(whole)), request),
    )


_NOTHING = '{"import": true, "before": {}, "after": {}}'  # of an entry that is new or gone
