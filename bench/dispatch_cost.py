"""What one dispatch decision costs, with a large district's directory and 100,000 incidents open. Prints only.

Run as a module from the repository: `python -m bench.dispatch_cost`. Everything is in memory, as in the product: the
list is indexed once when it is read, open work is a count by unit. With ``--database URL`` of a scratch database with
all migrations, which is then filled with 100,000 open incidents, the reads that keep it fresh are timed too.
"""

import argparse
import asyncio
import json
import random
import statistics
import time
from datetime import UTC, datetime
from datetime import time as clock_time
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection

from city.clocks import Limit
from city.directory import Directory, Place
from city.responsibilities import ResponsibilityList
from city.rosters import Duty, Shift
from city.storage import directory as stored
from city.units import Category, Responsibility, Unit
from command_centre import dispatch

ENTRIES, CATEGORIES, UNITS, CELLS, OPEN = 5_000, 1_000, 500, 600, 100_000
DECISIONS = 20_000
CAPACITY = 30  # of each of the 500 units in the database: the most that is counted
BAR_US = 1_000  # the product's promise
NOW = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)  # a Friday night: most units off duty, the longest way
RANDOM = random.Random(1)  # not for secrets


def directory() -> Directory:
    units = {number: _unit(number) for number in range(1, UNITS + 1)}
    codes = [f"top{n // 100:02d}.mid{n // 10 % 10}.leaf{n % 10}" for n in range(CATEGORIES)]
    streets, communities = range(10_001, 10_021), range(20_001, 20_101)
    places = {
        cell: (
            _place(cell, "cell"),
            _place(communities[cell % 100], "community"),
            _place(streets[cell % 20], "street"),
            _place(99_999, "district"),
        )
        for cell in range(1, CELLS + 1)
    }
    areas = [None, *streets, *communities]
    entries = [
        Responsibility(
            id=number,
            category=RANDOM.choice(codes).rsplit(".", RANDOM.choice((0, 0, 1, 2)))[0],
            area_id=RANDOM.choice(areas),
            unit_id=RANDOM.randint(1, UNITS),
            incident_class=None,
            limit_minutes=None,
            clock=None,
            limits={"handle": Limit(amount=3, unit="working_day")},
        )
        for number in range(1, ENTRIES + 1)
    ]
    night = Shift(name="day", days="working", begins=clock_time(8, 30), ends=clock_time(18, 0))
    return Directory(
        version=1,
        district_code="440399",
        zone=ZoneInfo("Asia/Shanghai"),
        places=places,
        categories={code: _category(code) for code in codes},
        join_minutes={},
        units=units,
        active=frozenset(units),
        responsibilities=ResponsibilityList(entries),
        calendar={},
        duty={number: Duty(shifts=(night,)) for number in units if number % 3 == 0},
        open_work=dict.fromkeys(units, OPEN // UNITS),
        nearest=frozenset({"top00"}),
    )


def matters() -> list[dispatch.Matter]:
    return [
        dispatch.Matter(
            category=f"top{n // 100 % 10:02d}.mid{n // 10 % 10}.leaf{n % 10}",
            cell_id=RANDOM.randint(1, CELLS),
            longitude=114.2 + RANDOM.random() / 10,
            latitude=22.6 + RANDOM.random() / 10,
        )
        for n in (RANDOM.randrange(CATEGORIES) for _ in range(DECISIONS))
    ]


def measured() -> dict[str, object]:
    known = directory()
    told = matters()
    for matter in told[:200]:
        dispatch.decide(matter, known, NOW)
    took = []
    owned = 0
    for matter in told:
        before = time.thread_time_ns()  # of this thread: other programs on the machine do not count
        owned += dispatch.decide(matter, known, NOW).unit is not None
        took.append((time.thread_time_ns() - before) / 1000)
    took.sort()
    mean = statistics.fmean(took)
    return {
        "entries": ENTRIES,
        "categories": CATEGORIES,
        "units": UNITS,
        "open_incidents": OPEN,
        "decisions": DECISIONS,
        "with_a_unit": owned,
        "cpu_mean_us": round(mean, 1),
        "cpu_median_us": round(statistics.median(took), 1),
        "cpu_p99_us": round(took[int(0.99 * DECISIONS)], 1),
        "cpu_worst_us": round(took[-1], 1),
        "share_of_the_bar": round(mean / BAR_US, 4),
    }


async def reads(url: str) -> dict[str, float]:
    """Milliseconds of the reads that a batch of decisions needs, beside 100,000 open incidents."""
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(
            "INSERT INTO units (code, name, capacity) SELECT 'bench-' || n, 'bench', %s FROM generate_series(1, %s) n",
            (CAPACITY, UNITS),
        )
        await connection.execute(
            "INSERT INTO incidents (number, state, class, base_class, category, unit_id, reason, opened_at, due_at)"
            " SELECT 'bench-' || n, 'acknowledged', 'C', 'C', 'fire', u.ids[1 + n %% %s], '-', now(), now()"
            " FROM generate_series(1, %s) n, (SELECT array_agg(id) AS ids FROM units WHERE code LIKE 'bench-%%') u",
            (UNITS, OPEN),
        )
        await connection.execute("VACUUM (ANALYZE) incidents")
        found = {}
        for name, read in (("open_work_ms", stored.open_work), ("version_ms", stored.version)):
            took = []
            for _ in range(20):
                before = time.perf_counter()
                await read(connection)
                took.append((time.perf_counter() - before) * 1000)
            found[name] = round(statistics.median(took), 2)
    return found


def _unit(number: int) -> Unit:
    return Unit(
        id=number,
        code=f"u{number}",
        name=f"单位{number}",
        name_en=f"Unit {number}",
        kind=f"kind{number % 10}",
        parent=None,
        lead="",
        phone="",
        lead_phone="",
        email="",
        lead_email="",
        webhook_url="",
        capacity=150 if number % 5 == 0 else None,
        fallback=f"u{number % UNITS + 1}",
        longitude=114.2 + RANDOM.random() / 10,
        latitude=22.6 + RANDOM.random() / 10,
    )


def _category(code: str) -> Category:
    return Category(
        code=code,
        parent=code.rpartition(".")[0],
        name="类别",
        name_en="Category",
        incident_class=RANDOM.choice(("A", "B", "C")),
        limit_minutes=480,
        clock="working",
        automatic="all",
    )


def _place(area_id: int, layer: str) -> Place:
    return Place(area_id=area_id, layer=layer, code=str(area_id), name=layer, name_en=layer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", default="", help="a scratch database with all migrations")
    given = parser.parse_args()
    found = measured()
    if given.database:
        found |= asyncio.run(reads(given.database))
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
