"""How the chain from the broker to the screens is, as the last ingest session tells it.

Pure. Nothing unknown is called well.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from city.uplink import line_of

Row = Mapping[str, Any]

INGEST_SILENT_S = 10.0  # ingest says it is alive every second or two
INGEST_LAGGING_S = 5.0  # readings wait longer than this before they are stored


def of_chain(ingest: Row | None, refused: int, line: Row | None = None) -> dict[str, object]:
    """Health of the chain as the last ingest session tells it; ``refused`` = quarantined in an hour.

    ``line`` is how the line to the city is; None = this district reports to nobody.
    """
    figures: Mapping[str, Any] = ingest["figures"] if ingest else {}
    seen: datetime | None = ingest["alive_at"] if ingest else None
    silent = ingest is None or (ingest["now"] - ingest["alive_at"]).total_seconds() > INGEST_SILENT_S
    connected = bool(figures.get("broker_connected", ingest["listening"] if ingest else False))
    lag_s = float(figures["lag_ms"]) / 1000 if "lag_ms" in figures else None
    behind = lag_s is not None and lag_s > INGEST_LAGGING_S
    disk = str(figures.get("disk") or "ok")  # where nobody can look, PostgreSQL itself will say it
    # Without room ingest holds everything back: what the sensors say is not in what is shown.
    state = "down" if silent or disk == "none" else "lagging" if behind or not connected else "ok"
    return {
        "ingest": state,
        "broker": "ok" if connected and not silent else "down",
        "database": "ok",
        "lag_s": lag_s,
        "ingest_seen_at": seen,
        "quarantined_1h": refused,
        "broker_dropped": int(figures.get("broker_dropped") or 0),
        "disk": disk,
        "uplink": line_of(line),
        "uplink_since": line["since"] if line else None,
        "uplink_waiting": int(line["waiting"]) if line else 0,
    }


def blind(last: Mapping[str, object]) -> dict[str, object]:
    """Health while the database does not answer: nothing else is known, and nothing unknown is green."""
    return {**last, "ingest": "down", "broker": "down", "database": "down", "lag_s": None}
