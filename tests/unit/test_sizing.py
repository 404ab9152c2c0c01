"""The page on sizes: its table is what its unit costs give, and each unit cost says what measures it."""

import re

from bench import sizing
from runtime import fleet_load

PAGE = sizing.PAGE.read_text(encoding="utf-8")


def test_the_table_is_what_the_unit_costs_give() -> None:
    assert sizing.renewed(PAGE) == PAGE, "run: python -m bench.sizing --write"


def test_every_unit_cost_is_used_and_says_where_it_comes_from() -> None:
    unit = sizing.costs(PAGE)
    asked: set[str] = set()

    class Asked(dict[str, float]):
        def __getitem__(self, name: str) -> float:
            asked.add(name)
            return super().__getitem__(name)

    sizing.rows(Asked(unit), 1_000_000)
    assert asked == set(unit)
    sources = dict(re.findall(r"^\| `(\w+)` \| [\d.,]+ \| [^|]+ \| ([^|]+) \|$", PAGE, re.MULTILINE))
    assert sources.keys() == unit.keys()
    named = re.compile(r"`(python -m bench\.\w+|make \w+|city simulate fleet)|assumed|RFC|published")
    assert [name for name, source in sources.items() if not named.search(source)] == []
    modules = re.findall(r"python -m bench\.(\w+)", " ".join(sources.values()))
    assert all((sizing.PAGE.parents[1] / "bench" / f"{one}.py").is_file() for one in modules)


def test_what_grows_with_the_fleet_grows_with_it() -> None:
    unit = sizing.costs(PAGE)
    small, large = sizing.rows(unit, 10_000), sizing.rows(unit, 1_000_000)
    fixed = {"ingest: memory, GB", "ingest: workers of one core", "databases", "centres, two at least"}
    fixed |= {"RabbitMQ: nodes, three at least"}
    steps = {"database: hours a chunk may hold"}
    for title in small.keys() - fixed - steps:
        assert abs(large[title] / small[title] - 100) < 1e-6, title
    assert small["database: hours a chunk may hold"] >= large["database: hours a chunk may hold"]


def test_a_reading_of_the_page_is_a_reading_of_the_fleet() -> None:
    assert sizing.costs(PAGE)["packet_bytes"] == fleet_load.wire_bytes()
