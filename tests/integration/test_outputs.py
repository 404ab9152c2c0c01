"""What leaves the centre besides its screens: files of readings, GeoJSON, and the views that dashboards read."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest
from psycopg import errors

from city.errors import CityError
from command_centre import exports
from runtime import readings_cli
from tests.integration.running_centre import Centre, on_fresh_ground, raise_alarm
from tests.integration.test_api import problem
from tests.servers.postgres import PostgresServer

GRAFANA = Path(__file__).parents[2] / "deploy/grafana"
READ = """
    INSERT INTO observations (device_id, metric_id, observed_at, received_at, value, quality, seq)
    SELECT d.id, m.id, '2026-05-01T16:00Z'::timestamptz + n * interval '1 minute', '2026-05-02Z', n, %s, %s
    FROM devices d, metrics m, generate_series(0, %s::integer - 1) n WHERE d.code = %s AND m.code = %s
"""
PERIOD = {"from": "2026-05-02T00:00:00+08:00", "to": "2026-05-03T00:00:00+08:00"}


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    with on_fresh_ground(postgres_server, postgres_template) as made:
        with psycopg.connect(made.url, autocommit=True) as connection:
            connection.execute("UPDATE metrics SET unit = '=m()' WHERE code = 'level'")
            connection.execute("INSERT INTO metrics (code, unit, name) VALUES ('rain', 'mm', '雨量')")
            connection.execute("INSERT INTO devices (code, kind) VALUES ('=cmd|x', 'water')")
            for said in (
                (0, 7, 120, "W1", "level"),
                (18, None, 3, "W1", "rain"),
                (0, None, 1, "=cmd|x", "level"),
            ):
                connection.execute(READ.encode(), said)
        raise_alarm(made, "D1")
        yield made


# ── files ────────────────────────────────────────────────────────────────────────────────────────────


def rows_of(centre: Centre, **options: str) -> list[dict[str, str]]:
    answer = centre.client.get("/api/devices/W1/export", params={**PERIOD, **options})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))


@pytest.fixture
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("city.storage.exports.BLOCK_ROWS", 50)


@pytest.mark.usefixtures("_small_blocks")
def test_csv_holds_every_reading_once_with_unit_and_quality(centre: Centre) -> None:
    rows = rows_of(centre)
    assert [float(row["value"]) for row in rows] == [*map(float, range(120)), 0, 1, 2]
    assert rows[0] == {
        "device": "W1",
        "metric": "level",
        "unit": "'=m()",  # no spreadsheet calculates it
        "observed_at": "2026-05-01T16:00:00+00:00",
        "observed_local": "2026-05-02T00:00:00+08:00",
        "received_at": "2026-05-02T00:00:00+00:00",
        "value": "0.0",
        "quality": "0",
        "quality_words": "good",
        "seq": "7",
    }
    assert (rows[-1]["metric"], rows[-1]["quality_words"], rows[-1]["seq"]) == (
        "rain",
        "late out_of_range",
        "",
    )
    assert {row["metric"] for row in rows_of(centre, metrics="rain")} == {"rain"}
    assert len(rows_of(centre, to="2026-05-01T16:10:00Z", metrics="level")) == 10  # the end is left out


@pytest.mark.usefixtures("_small_blocks")
def test_parquet_comes_in_row_groups(centre: Centre) -> None:
    answer = centre.client.get("/api/devices/W1/export", params={**PERIOD, "format": "parquet"})
    file = pq.ParquetFile(io.BytesIO(answer.content))
    assert file.metadata.num_row_groups == 4  # 50, 50, 20 of one metric and 3 of the other
    table = file.read()
    assert table.column_names == list(exports.COLUMNS)
    first = table.slice(0, 1).to_pylist()[0]
    assert (first["device"], first["metric"], first["unit"], first["value"]) == ("W1", "level", "=m()", 0.0)
    assert first["observed_at"].isoformat() == "2026-05-01T16:00:00+00:00"
    assert first["observed_local"].isoformat() == "2026-05-02T00:00:00+08:00"
    assert table["value"].to_pylist() == [*map(float, range(120)), 0, 1, 2]
    assert table.slice(122, 1).to_pylist()[0]["quality_words"] == "late out_of_range"


def test_a_file_without_readings_has_its_columns(centre: Centre) -> None:
    nothing = {"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}
    assert rows_of(centre, **nothing) == []
    answer = centre.client.get("/api/devices/W1/export", params={**nothing, "format": "parquet"})
    assert pq.read_table(io.BytesIO(answer.content)).num_rows == 0


def test_names_cannot_act(centre: Centre) -> None:
    answer = centre.client.get("/api/devices/=cmd|x/export", params=PERIOD)
    assert answer.headers["content-disposition"].startswith('attachment; filename="cmd-x_20260501T1600Z_')
    assert answer.content.decode("utf-8-sig").splitlines()[1].startswith("'=cmd|x,")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"to": "2026-05-01T00:00:00Z"}, "to"),
        ({"from": "2020-05-01T00:00:00Z"}, "from"),
        ({"metrics": "colour"}, "metrics"),
        ({"format": "xlsx"}, "format"),
        ({"from": "2026-05-02T00:00:00"}, "from"),
    ],
)
def test_what_is_not_exported_says_why(centre: Centre, options: dict[str, str], field: str) -> None:
    said = problem(centre.client.get("/api/devices/W1/export", params={**PERIOD, **options}), 422)
    assert said["errors"][0]["field"] == field


def test_too_much_is_refused_before_the_first_byte(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "MOST_READINGS", 122)
    said = problem(centre.client.get("/api/devices/W1/export", params=PERIOD), 422)
    assert "shorter period" in said["detail"]
    problem(centre.client.get("/api/devices/none/export", params=PERIOD), 404)


def test_the_command_line_writes_the_same_file(
    centre: Centre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CITY_DATABASE_URL", centre.url)
    readings_cli.readings("W1", tmp_path / "w1.csv", PERIOD["from"], PERIOD["to"], "")
    assert (tmp_path / "w1.csv").read_bytes() == centre.client.get(
        "/api/devices/W1/export", params=PERIOD
    ).content
    for refused in (
        ("W1", "w1.csv", ""),
        ("W1", "w1.xlsx", ""),
        ("W1", "new.csv", "2026-05-01"),
        ("none", "new.csv", ""),
    ):
        with pytest.raises(CityError):
            readings_cli.readings(
                refused[0], tmp_path / refused[1], refused[2] or PERIOD["from"], PERIOD["to"], ""
            )


# ── GeoJSON ──────────────────────────────────────────────────────────────────────────────────────────


def collection(centre: Centre, path: str, **options: str) -> dict[str, Any]:
    answer = centre.client.get(path, params=options)
    assert answer.headers["content-type"] == "application/geo+json"
    body: dict[str, Any] = answer.json()
    assert body["type"] == "FeatureCollection"
    return body


def test_devices_and_cells_on_a_map(centre: Centre) -> None:
    body = collection(centre, "/api/devices.geojson", kind="smoke", limit="3")
    assert [one["id"] for one in body["features"]] == ["D1", "D10", "D11"]
    assert body["features"][0]["geometry"] == {"type": "Point", "coordinates": [114.0, 22.5]}
    assert body["features"][0]["properties"]["open_alarms"] == 1
    rest = collection(centre, "/api/devices.geojson", kind="smoke", cursor=body["next"])
    assert (len(rest["features"]), rest["next"]) == (17, None)
    assert collection(centre, "/api/devices.geojson", kind="water")["features"][-1]["geometry"] is None
    cells = collection(centre, "/api/cells.geojson")["features"]
    assert [one["id"] for one in cells] == ["C1", "C2", "C3", "C4"]
    assert cells[0]["geometry"]["type"] == "Polygon"
    answer = centre.client.get("/api/cells.geojson?level=street")
    again = centre.client.get(
        "/api/cells.geojson?level=street", headers={"If-None-Match": answer.headers["etag"]}
    )
    assert again.status_code == 304
    assert centre.stranger.get("/api/devices.geojson").status_code == 401
    problem(centre.client.get("/api/devices.geojson?limit=20001"), 422)


# ── dashboards ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def reader(centre: Centre) -> Iterator["psycopg.Connection[Any]"]:
    """The account of dashboards, made by the file that compose runs (twice: it must be repeatable)."""
    script = (GRAFANA / "role.sql").read_text().replace(":'password'", "'dash'")
    with psycopg.connect(centre.url, autocommit=True) as owner:
        for _ in range(2):
            owner.execute(script.encode())
        try:
            with psycopg.connect(centre.url, user="grafana", password="dash", autocommit=True) as connection:
                yield connection
        finally:
            owner.execute("DROP OWNED BY grafana; DROP ROLE grafana")


def queries() -> list[tuple[str, str]]:
    """Every statement of the dashboard, with what Grafana puts into it."""
    board = json.loads((GRAFANA / "dashboards/district.json").read_text())
    found = [(panel["title"], panel["targets"][0]["rawSql"]) for panel in board["panels"]]
    found += [(one["name"], one["query"]) for one in board["templating"]["list"]]
    found += [(one["name"], one["target"]["rawSql"]) for one in board["annotations"]["list"]]
    span = r"\1 BETWEEN '2026-05-01T00:00:00Z' AND '2036-05-03T00:00:00Z'"
    filled = []
    for title, text in found:
        asked = re.sub(r"\$__timeFilter\((\w+)\)", span, text)
        asked = asked.replace("${device:sqlstring}", "'W1','D1'").replace("${metric:sqlstring}", "'level'")
        assert "$" not in asked, title
        filled.append((title, asked))
    return filled


@pytest.mark.parametrize(("title", "statement"), queries())
def test_every_panel_asks_what_the_database_answers(
    reader: "psycopg.Connection[Any]", title: str, statement: str
) -> None:
    rows = reader.execute(statement.encode()).fetchall()
    if "Readings" in title:
        assert len(rows) == 120
    if "Standing alarms" in title:
        assert rows == [(1,)]
    if "Silent devices" in title:
        assert rows == [(22,)]


VIEWS = {
    "readings": "time received_at device device_name kind cell metric metric_name metric_name_en unit value quality"
    " trusted",
    "readings_hourly": "time device device_name kind cell metric metric_name metric_name_en unit readings minimum mean"
    " maximum",
    "metrics": "metric metric_name metric_name_en unit",
    "alarms": "time id rule category category_name category_name_en level class device device_name kind cell cell_name"
    " raised_at cleared_at standing acknowledged_at stood_s repeats late exercise incident",
    "incidents": "time number state class category category_name category_name_en cell cell_name unit_name unit_name_en"
    " source opened_at due_at acknowledged_at closed_at open overdue exercise",
    "devices": "device device_name kind kind_name kind_name_en model cell cell_name longitude latitude owner_unit"
    " maintainer_unit registration service_state last_heard_at online open_alarms",
}


def test_the_views_columns_are_a_promise(reader: "psycopg.Connection[Any]") -> None:
    rows = reader.execute(
        "SELECT table_name, string_agg(column_name, ' ' ORDER BY ordinal_position)"
        " FROM information_schema.columns WHERE table_schema = 'grafana' GROUP BY 1"
    ).fetchall()
    assert dict(rows) == VIEWS


@pytest.mark.parametrize("statement", ["SELECT * FROM public.users", "SELECT * FROM public.incidents"])
def test_dashboards_see_the_views_only(reader: "psycopg.Connection[Any]", statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        reader.execute(statement.encode())


def test_dashboards_change_nothing(reader: "psycopg.Connection[Any]") -> None:
    for statement in (b"CREATE TABLE public.mine (n int)", b"DELETE FROM grafana.alarms"):
        with pytest.raises(errors.Error):
            reader.execute(statement)
