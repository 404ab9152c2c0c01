"""A city's own centre over real district databases: two that answer, one that hangs, one that is not there."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
import pytest

from tests.conftest import _database
from tests.integration.running_centre import Centre, lay_ground, running
from tests.integration.two_streets import account
from tests.servers.postgres import PostgresServer

READER = Path(__file__).parents[2] / "deploy" / "districts" / "reader.sql"
PASSWORD = "only-looks"
INCIDENT = """
    INSERT INTO incidents (number, state, class, base_class, category, title, reason, area_id, unit_id, opened_at,
        due_at)
    SELECT %s, 'dispatched', %s, %s, 'fire', 'typed by a person', 'typed by a person', a.id, u.id, %s, '2100-01-01Z'
    FROM areas a, units u WHERE a.code = 'C1' AND u.code = 'U1'
"""
SQUARE = [[121.0, 31.0], [121.1, 31.0], [121.1, 31.1], [121.0, 31.0]]


def fill(url: str, code: str, incidents: list[tuple[str, str, str]]) -> str:
    """A district's database with incidents (number, class, opened_at); the address of its reading account."""
    lay_ground(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE district SET code = %s", [code])
        connection.execute(READER.read_text().replace(":'password'", f"'{PASSWORD}'").encode())
        for number, of_class, opened in incidents:
            connection.execute(INCIDENT, [number, of_class, of_class, opened])
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"city_overview:{PASSWORD}@{parts.hostname}:{parts.port}"))


@contextmanager
def hanging() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"postgresql://nobody@127.0.0.1:{listener.getsockname()[1]}/city"


def until(said: Callable[[], Any], wanted: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + 60
    while not wanted(found := said()):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def city(
    postgres_server: PostgresServer, postgres_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Centre]:
    folder = tmp_path_factory.mktemp("city")
    east = [("20261122-0001", "A", "2026-11-22T08:00Z"), ("20261122-0002", "B", "2026-11-22T08:02Z")]
    west = [("20261122-0001", "C", "2026-11-22T08:01Z"), ("20261122-0002", "A", "2026-11-22T08:03Z")]
    with (
        _database(postgres_server, postgres_template) as home,
        _database(postgres_server, postgres_template) as one,
        _database(postgres_server, postgres_template) as two,
        hanging() as stuck,
    ):
        (folder / "east.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [SQUARE]}))
        addresses = {
            "east": fill(one, "east", east),
            "west": fill(two, "west", west),
            "south": stuck,
            "north": "postgresql://nobody@127.0.0.1:1/city",
        }
        (folder / "districts.toml").write_text(
            "".join(
                f'[[district]]\ncode = "{code}"\nname = "{code}"\nurl = "https://{code}.city"\ndatabase = "{url}"\n'
                + ('outline = "east.geojson"\n' if code == "east" else "")
                for code, url in addresses.items()
            )
        )
        lay_ground(home)
        with running(home, districts=folder / "districts.toml") as centre:
            yield centre


def overview(city: Centre) -> dict[str, Any]:
    found: dict[str, Any] = city.stranger.get("/api/wall/city").raise_for_status().json()
    return found


def test_who_answers_is_shown_while_others_hang_or_are_not_there(city: Centre) -> None:
    found = until(lambda: overview(city), lambda said: said["sum"]["answering"] == 2)
    by_code = {item["code"]: item for item in found["items"]}
    assert list(by_code) == ["east", "west", "south", "north"]
    for silent in ("south", "north"):  # never a zero
        one = by_code[silent]
        assert (one["state"], one["figures"], one["silent_since"]) == ("silent", None, None)
    assert by_code["north"]["why"] == "its database cannot be reached"
    east = by_code["east"]["figures"]
    assert (east["devices"], east["online"], east["stations"], east["above_warning"]) == (21, 0, 1, 0)
    assert {name: of["open"] for name, of in east["classes"].items()} == {"A": 1, "B": 1}
    assert found["sum"]["districts"] == 4
    assert found["sum"]["classes"]["A"] == {"open": 2, "unacknowledged": 2, "overdue": 0}


def address_of(city: Centre, server: PostgresServer, code: str) -> str:
    """Of a district's own database, among those that the centre asks."""
    asked = city.execute(
        "SELECT DISTINCT datname FROM pg_stat_activity WHERE application_name = 'city overview'"
    )
    for (name,) in asked:
        with psycopg.connect(server.url(str(name))) as connection:
            if connection.execute("SELECT code FROM district").fetchone() == (code,):
                return server.url(str(name))
    raise AssertionError(f"{code} is not asked")


def test_the_highest_response_level_is_shown_with_whose_it_is(
    city: Centre, postgres_server: PostgresServer
) -> None:
    def level(said: dict[str, Any]) -> tuple[Any, ...]:
        of = said["response"]
        return of["level"], of["centre"], of["districts"], of["unknown"]

    until(lambda: overview(city), lambda said: level(said) == (None, False, [], 2))
    set_level = "UPDATE district SET response_level = %s"
    with psycopg.connect(address_of(city, postgres_server, "west"), autocommit=True) as connection:
        city.execute(set_level, "IV")
        city.execute("INSERT INTO changes (kind, object) VALUES ('district.changed', 'x')")
        until(lambda: overview(city), lambda said: level(said) == ("IV", True, [], 2))
        connection.execute(set_level, ["II"])
        until(lambda: overview(city), lambda said: level(said) == ("II", False, ["west"], 2))
        connection.execute(set_level, [None])
        city.execute(set_level, None)
        city.execute("INSERT INTO changes (kind, object) VALUES ('district.changed', 'x')")
        until(lambda: overview(city), lambda said: level(said) == (None, False, [], 2))


def test_incidents_of_all_districts_are_one_list_page_by_page(city: Centre) -> None:
    until(lambda: overview(city), lambda said: said["sum"]["answering"] == 2)
    shown: list[tuple[str, str]] = []
    cursor: str | None = None
    while True:
        asked = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = city.client.get("/api/city/incidents", params=asked).raise_for_status().json()
        silent = sorted((one["code"], one["silent_since"]) for one in page["missing"])
        assert silent == [("north", None), ("south", None)]
        assert page["districts"][0] == {
            "code": "east", "name": "east", "name_en": "east", "url": "https://east.city",
        }  # fmt: skip
        assert "typed by a person" not in json.dumps(page)
        shown += [(row["district"], row["number"][-4:]) for row in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert shown == [("west", "0002"), ("east", "0002"), ("west", "0001"), ("east", "0001")]
    only_a = city.client.get("/api/city/incidents", params={"class": "A", "q": "网格1"}).json()
    assert [(row["district"], row["class"]) for row in only_a["items"]] == [("west", "A"), ("east", "A")]
    assert city.client.get("/api/city/incidents", params={"q": "no such words"}).json()["items"] == []


def test_only_who_sees_the_whole_city_sees_it(city: Centre) -> None:
    assert city.stranger.get("/api/city/incidents").status_code == 401
    of_a_street = account(city, "viewer", scope="S1")
    assert httpx.get(f"{city.base}/api/city/incidents", cookies=of_a_street).status_code == 403
    of_all = account(city, "viewer")
    assert httpx.get(f"{city.base}/api/city/incidents", cookies=of_all).status_code == 200
    for cookies, sees in ((of_a_street, False), (of_all, True)):
        me = httpx.get(f"{city.base}/api/session", cookies=cookies).json()["user"]
        assert me["city"] is sees
    outlines = city.stranger.get("/api/wall/city/map").raise_for_status().json()["items"]
    assert [(one["code"], one["rings"]) for one in outlines] == [("east", [SQUARE])]


def test_a_district_that_falls_silent_says_since_when_and_comes_back(
    city: Centre, postgres_server: PostgresServer
) -> None:
    found = until(lambda: overview(city), lambda said: said["sum"]["answering"] == 2)
    (name,) = (
        row[0] for row in city.execute("SELECT datname FROM pg_stat_activity WHERE application_name ="
                                       " 'city overview' ORDER BY datname LIMIT 1")
    )  # fmt: skip
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'.encode())
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        found = until(lambda: overview(city), lambda said: said["sum"]["answering"] == 1)
        (fallen,) = (one for one in found["items"] if one["silent_since"] is not None)
        assert fallen["figures"] is None
        until(
            lambda: overview(city),
            lambda said: any("read-only" in one["why"] for one in said["items"]),
        )
        connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'.encode())
    until(lambda: overview(city), lambda said: said["sum"]["answering"] == 2)


def test_the_reading_account_reads_nothing_else(city: Centre, postgres_server: PostgresServer) -> None:
    (name,) = city.execute("SELECT current_database()")[0]
    with psycopg.connect(postgres_server.url(str(name)), autocommit=True) as connection:
        connection.execute("SET ROLE city_overview")
        for asked in ("SELECT * FROM incidents", "SELECT * FROM users", "SELECT * FROM overview.incidents"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(asked.encode())  # of the third: this database granted it nothing


def test_a_centre_of_one_district_has_no_city(postgres_server: PostgresServer, city: Centre) -> None:
    with running(city.url) as plain:
        me = httpx.get(f"{plain.base}/api/session", cookies=account(plain, "supervisor")).json()["user"]
        assert me["city"] is False
        assert plain.stranger.get("/api/wall/city").status_code == 404
