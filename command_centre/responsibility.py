"""Which entry of the responsibility list (职责清单) has a matter, and why the others do not.

Read category first, place second: what it is decides which trade (gas is the gas company's wherever it leaks),
where it is decides which crew of that trade.
"""

from collections.abc import Sequence
from datetime import datetime

from city.directory import Place
from city.responsibilities import ResponsibilityList, above, in_force
from city.units import Responsibility


def ranked(
    category: str, places: Sequence[Place], entries: Sequence[Responsibility], at: datetime
) -> list[Responsibility]:
    """The entries that cover the matter and hold at ``at``: longest category first, then smallest place.

    ``places`` are those of its cell, the cell first; the whole district comes after them. A ResponsibilityList
    is looked up, any other sequence walked through.
    """
    codes = above(category)
    if not isinstance(entries, ResponsibilityList):
        entries = ResponsibilityList(entry for entry in entries if entry.category in codes)
    areas = [*(place.area_id for place in places), None]
    return [
        entry for code in codes for area in areas for entry in entries.of(code, area) if in_force(entry, at)
    ]
