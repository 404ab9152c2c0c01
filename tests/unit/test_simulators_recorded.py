"""Reading recorded series: known forms, named columns, and everything that can be wrong with a file."""

import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from simulators.recorded import Choice, Reading, SeriesError, Tally, columns_of, read_series

WATER = """time,station,level_m,rain_mm
2013-07-15T12:50:00Z,han,10.23,0.5
2013-07-15T13:00:00Z,han,10.20,
2013-07-15T13:10:00Z,han,,
"""


def choice(**named: Any) -> Choice:
    names = ("kind", "device", "device_column", "time_column", "metrics", "start", "end", "origin")
    return Choice(**{name: named.get(name) for name in names})


def read(path: Path, **named: Any) -> tuple[list[Reading], Tally]:
    tally, chosen = Tally(), choice(**named)
    return read_series(path, columns_of(path, chosen), chosen, tally), tally


def write(tmp_path: Path, text: str, name: str = "series.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["series.csv", "series.csv.gz"])
def test_water_form_is_recognised_and_empty_values_are_counted(tmp_path: Path, name: str) -> None:
    readings, tally = read(write(tmp_path, WATER, name))
    assert [(r.observed_at.isoformat(), r.device, r.metrics) for r in readings] == [
        ("2013-07-15T12:50:00+00:00", "han", {"level": 10.23, "rain": 0.5}),
        ("2013-07-15T13:00:00+00:00", "han", {"level": 10.2}),
    ]
    assert (tally.rows, tally.empty_values, tally.empty_rows, tally.bad_rows) == (3, 3, 1, 0)


def test_a_series_without_rain_is_a_water_series_too(tmp_path: Path) -> None:
    readings, _ = read(write(tmp_path, "time,station,level_m\n2022-10-18T00:00:00Z,wear,0.598\n"))
    assert readings[0].metrics == {"level": 0.598}


def test_smoke_form_begins_where_told(tmp_path: Path) -> None:
    path = write(
        tmp_path, "session,t_s,temperature_c,eco2_ppm,fire_alarm\nS1,0,20.0,400,0\nS1,90.5,21,450,1\n"
    )
    readings, _ = read(path, origin=datetime(2026, 1, 1, tzinfo=UTC))
    assert [r.observed_at.isoformat() for r in readings] == [
        "2026-01-01T00:00:00+00:00",
        "2026-01-01T00:01:30.500000+00:00",
    ]
    assert readings[1].metrics == {"temperature": 21.0, "eco2": 450.0}


def test_smoke_form_without_a_beginning_ends_now(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    readings, _ = read(write(tmp_path, "session,t_s,temperature_c\nS1,0,20\nS1,3600,21\n"))
    assert before <= readings[-1].observed_at <= datetime.now(UTC)
    assert (readings[1].observed_at - readings[0].observed_at).total_seconds() == 3600


def test_rows_come_in_the_order_of_their_times_and_within_the_bounds(tmp_path: Path) -> None:
    text = "time,station,level_m\n" + "".join(f"2020-01-0{d}T00:00:00+08:00,s,{d}\n" for d in (3, 1, 4, 2))
    start, end = datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 3, tzinfo=UTC)
    readings, tally = read(write(tmp_path, text), start=start, end=end)
    assert [r.metrics["level"] for r in readings] == [2, 3]
    assert tally.outside == 2


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path, "when,who,a,b\n2020-01-01T00:00:00,x,1,2\n")
    readings, _ = read(
        path, kind="air", time_column="when", device_column="who", metrics={"b": "pm25", "a": "pressure"}
    )
    assert readings == [
        Reading(
            observed_at=datetime(2020, 1, 1, tzinfo=UTC), device="x", metrics={"pm25": 2.0, "pressure": 1.0}
        )
    ]


def test_one_device_can_be_named_for_all_rows(tmp_path: Path) -> None:
    path = write(tmp_path, "time,level_m\n2020-01-01T00:00:00Z,1\n")
    readings, _ = read(path, device="WL-03")
    assert readings[0].device == "WL-03"


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ("yesterday,s,1,0", r"time = 'yesterday': is not a time such as 2013"),
        ("2020-01-01T00:00:00Z,s,high,0", "level_m = 'high': is not a number"),
        ("2020-01-01T00:00:00Z,s,nan,0", "level_m = 'nan': is not a finite number"),
        ("2020-01-01T00:00:00Z,s,1,-inf", "rain_mm = '-inf': is not a finite number"),
        ("2020-01-01T00:00:00Z,,1,0", "station = '': is not a device code"),
        ("2020-01-01T00:00:00Z,a/b,1,0", "station = 'a/b': is not a device code"),
        ("2020-01-01T00:00:00Z", "station = '': is not a device code"),
    ],
)
def test_a_bad_row_is_named_by_line_and_the_rest_go_on(tmp_path: Path, row: str, named: str) -> None:
    path = write(tmp_path, f"time,station,level_m,rain_mm\n{row}\n2020-01-01T00:10:00Z,s,2,0\n")
    readings, tally = read(path)
    assert [r.metrics["level"] for r in readings] == [2]
    assert tally.bad_rows == 1
    assert tally.bad[0].startswith("series.csv line 2: ")
    assert named in tally.bad[0]


def test_many_bad_rows_are_counted_and_few_are_named(tmp_path: Path) -> None:
    _, tally = read(write(tmp_path, "time,station,level_m\n" + "x,s,1\n" * 1000))
    assert tally.bad_rows == 1000
    assert len(tally.bad) == 5


@pytest.mark.parametrize(
    ("header", "named", "wanted"),
    [
        ("a,b,c", {}, "is not one we know; name the time column"),
        ("", {}, "is not one we know"),
        ("time,level_m", {}, "column 'station' is not in the header"),
        ("time,station,level_m", {"metrics": {"flow": "flow"}}, "column 'flow' is not in the header"),
        ("time,station,level_m", {"time_column": "when"}, "column 'when' is not in the header"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(
    tmp_path: Path, header: str, named: dict[str, Any], wanted: str
) -> None:
    with pytest.raises(SeriesError, match=wanted):
        columns_of(write(tmp_path, header + "\n"), choice(**named))


def test_recorded_files_are_read_whole(shared_data: Path) -> None:
    readings, tally = read(shared_data / "data/water/han_cheongdam_2012_2015.csv.gz")
    assert tally.rows == len(readings) == 105_984
    assert max(r.metrics["level"] for r in readings) == pytest.approx(10.23, abs=0.01)
    smoke, tally = read(shared_data / "data/smoke/smoke_iot_s1.csv.gz")
    assert tally.rows == len(smoke) == 24_994
    assert set(smoke[0].metrics) == {"temperature", "humidity", "eco2"}
