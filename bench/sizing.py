"""The table of docs/sizing.md, from the unit costs that stand in the same page: `python -m bench.sizing --write`.

A unit cost is a line of the page's first table, `name | value | …`; nothing else is known here. The page's second table
is arithmetic, and a test holds the one to the other.
"""

import argparse
import math
import re
from collections.abc import Mapping
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "sizing.md"
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
BEGIN, END = "<!-- python -m bench.sizing --write -->", "<!-- end -->"
_DAY_S, _YEAR_D = 86_400, 365

Costs = Mapping[str, float]


def costs(page: str) -> dict[str, float]:
    """The unit costs by name."""
    found = re.findall(r"^\| `(\w+)` \| ([\d.,]+) \|", page, re.MULTILINE)
    return {name: float(value.replace(",", "")) for name, value in found}


def rows(unit: Costs, devices: int) -> dict[str, float]:
    """Everything that so many devices need, by the table's titles."""
    rate = devices / unit["interval_s"]
    day = rate * _DAY_S
    year_gb = day * _YEAR_D * unit["disk_bytes"] / 1e9
    ingest = rate * unit["ingest_us"] / 1e6 / unit["used"]
    screens = devices / unit["devices_a_screen"]
    return {
        "messages a second": rate,
        "network, Mbit/s": rate * (unit["packet_bytes"] + unit["framing_bytes"]) * 8 / 1e6,
        "broker: connections": devices,
        "broker: memory of connections, GB": devices * unit["connection_bytes"] / 1e9,
        "broker: cores": rate * unit["broker_us"] / 1e6 / unit["used"],
        "RabbitMQ: memory of connections, GB": devices * unit["rabbit_connection_bytes"] / 1e9,
        "RabbitMQ: nodes, three at least": max(
            3, math.ceil(devices * unit["rabbit_connection_bytes"] / 1e9 / unit["rabbit_node_gb"])
        ),
        "RabbitMQ: disk of the streams, all copies, GB": (
            day * unit["stream_days"] * unit["record_bytes"] * unit["stream_copies"] / 1e9
        ),
        "ingest: cores": ingest,
        "ingest: workers of one core": max(1, math.ceil(ingest)),
        "ingest: memory, GB": (
            max(1, math.ceil(ingest)) * unit["ingest_mb"] / 1e3 + devices * unit["device_bytes"] / 1e9
        ),
        "database: cores": rate * (unit["database_us"] + unit["presence_us"]) / 1e6 / unit["used"],
        "database: register, presence, rule state, GB": devices * unit["register_bytes"] / 1e9,
        "database: disk a day, GB": day * unit["disk_bytes"] / 1e9,
        "database: disk a year, GB": year_gb,
        "database: disk a year, compressed, GB": year_gb / unit["compression"],
        "files of past days a year, GB": day * _YEAR_D * unit["cold_bytes"] / 1e9,
        "database: log a day, GB": day * unit["log_bytes"] / 1e9,
        "database: primary key of a day, GB": day * unit["index_bytes"] / 1e9,
        "database: hours a chunk may hold": _chunk_hours(day * unit["index_bytes"] / 1e9, unit["index_gb"]),
        "databases": max(1, math.ceil(year_gb / unit["compression"] / unit["database_gb"])),
        "screens": screens,
        "centres, two at least": max(2, math.ceil(screens * unit["screen_core"] / unit["used"])),
    }


def _chunk_hours(day_gb: float, room_gb: float) -> int:
    """The longest chunk of a day, half a day, … whose primary key stays in memory."""
    return next((hours for hours in (24, 12, 6, 4, 3, 2) if day_gb * hours / 24 <= room_gb), 1)


def table(unit: Costs) -> str:
    """The second table."""
    columns = [rows(unit, devices) for devices in SIZES]
    lines = [
        "| | " + " | ".join(f"{devices:,}" for devices in SIZES) + " |",
        "|---" * (1 + len(SIZES)) + "|",
    ]
    lines += [
        f"| {title} | " + " | ".join(_short(column[title]) for column in columns) + " |"
        for title in columns[0]
    ]
    return "\n".join(lines)


def _short(value: float) -> str:
    """Two digits that count; more would promise what arithmetic cannot know."""
    if value == 0:
        return "0"
    places = 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, places)
    return f"{rounded:,.{max(0, places)}f}" if rounded != round(rounded) else f"{rounded:,.0f}"


def renewed(page: str) -> str:
    """The page with the table its unit costs give."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{table(costs(page))}\n\n{END}{tail}"


def main() -> None:
    """Command line: see --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="into docs/sizing.md")
    given = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    if given.write:
        PAGE.write_text(renewed(page), encoding="utf-8")
    else:
        print(table(costs(page)))


if __name__ == "__main__":
    main()
