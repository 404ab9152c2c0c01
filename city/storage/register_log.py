"""What an import by a person did to single entries, for the history of each of them."""

from collections.abc import Mapping, Sequence

from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb


def imported(
    connection: Connection[TupleRow],
    entries: Sequence[tuple[str, str, Mapping[str, Sequence[str]]]],
    whole: Mapping[str, object],
    *,
    by: str,
    reason: str,
) -> None:
    """Rows of (action, object, [before, after] by field), and one that speaks of the import as a whole."""
    query = "INSERT INTO audit (actor, action, object, reason, detail) VALUES (%s, %s, %s, %s, %s)"
    with connection.cursor() as cursor:
        cursor.executemany(
            query.encode(),
            [
                (
                    by,
                    action,
                    thing,
                    reason,
                    Jsonb(
                        {
                            "import": True,
                            "before": {name: pair[0] for name, pair in changes.items()},
                            "after": {name: pair[1] for name, pair in changes.items()},
                        }
                    ),
                )
                for action, thing, changes in entries
            ],
        )
        cursor.execute(query.encode(), (by, "register.imported", "register", reason, Jsonb(dict(whole))))
