"""How long a chunk of the readings may be, by the size of the register.

Devices report in no order, so each reading touches another page of the primary key of the chunk that is written to.
Once those pages do not stay in memory, every reading reads one and, after each checkpoint, logs it whole.
"""

DAY_H = 24
HOURS = (DAY_H, 12, 6, 4, 3, 2, 1)  # of a chunk; all divide a day, so that no chunk lies on two
INDEX_BYTES = 45  # of a reading in the primary key (docs/sizing.md, index_bytes)
INTERVAL_S = 300  # between two readings of a device (interval_s)
ROOM_GB = 8.0  # of memory for that key (index_gb)


def chunk_hours(
    devices: int,
    *,
    interval_s: float = INTERVAL_S,
    index_bytes: float = INDEX_BYTES,
    room_gb: float = ROOM_GB,
) -> int:
    """Hours of the longest chunk whose primary key stays in memory; one at least."""
    hour_gb = devices / interval_s * 3600 * index_bytes / 1e9
    return next((hours for hours in HOURS if hour_gb * hours <= room_gb), 1)
