"""What only an import writes: the district itself and its list of devices."""

import json
from typing import Any, cast
from zoneinfo import ZoneInfo

from psycopg import Connection
from psycopg.rows import TupleRow, dict_row

from city.code_forms import CodeForms, from_plain, to_plain
from city.district_files import DistrictInfo
from city.storage.devices import REGISTER_LOCK


def lock(connection: Connection[TupleRow]) -> None:
    """One import at a time, and none while ingest adds devices."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (REGISTER_LOCK,))


def load_info(connection: Connection[TupleRow]) -> DistrictInfo | None:
    """The district, or None before the first import."""
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute("SELECT code, name, name_en, timezone, code_forms FROM district").fetchone()
    return None if row is None else DistrictInfo(**row | {"code_forms": from_plain(row["code_forms"])})


def code_forms(connection: Connection[TupleRow]) -> CodeForms:
    """How the district writes codes; empty before the first import."""
    row = connection.execute("SELECT code_forms FROM district").fetchone()
    return {} if row is None else from_plain(cast(Any, row[0]))


def district_zone(connection: Connection[TupleRow], unknown: ZoneInfo | None = None) -> ZoneInfo:
    """The district's own time zone; ``unknown`` (or UTC) before the first import."""
    row = connection.execute("SELECT timezone FROM district").fetchone()
    return ZoneInfo(str(row[0])) if row is not None else unknown or ZoneInfo("UTC")


def source_digest(connection: Connection[TupleRow]) -> str | None:
    """Digest of the files imported last; None before the first import."""
    row = connection.execute("SELECT source_digest FROM district").fetchone()
    return None if row is None else str(row[0])


def write_info(connection: Connection[TupleRow], info: DistrictInfo, digest: str) -> None:
    """Write the district's own row; its response level stays."""
    connection.execute(
        """INSERT INTO district (code, name, name_en, timezone, code_forms, source_digest)
           VALUES (%s, %s, %s, %s, %s::jsonb, %s)
           ON CONFLICT (only_one) DO UPDATE SET code = excluded.code, name = excluded.name,
               name_en = excluded.name_en, timezone = excluded.timezone, code_forms = excluded.code_forms,
               source_digest = excluded.source_digest""",
        (info.code, info.name, info.name_en, info.timezone, json.dumps(to_plain(info.code_forms)), digest),
    )
