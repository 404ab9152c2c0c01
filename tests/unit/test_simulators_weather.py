"""What the scenarios do over time, without a broker: every value is a function of device and time."""

import csv
import itertools
from pathlib import Path

import pytest

from simulators.district import generate
from simulators.fleet import Device, FolderError, read_fleet
from simulators.scenarios import Episodes, Scenario, compose
from simulators.weather import CALM_SMOKE_MAX, calm_level, calm_smoke

ALL = ("calm", "demo", "fire", "storm", "outage", "flap", "flood-of-alarms")
SEED = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("weather") / "district"
    generate(built)
    return built


@pytest.fixture(scope="module")
def fleet(folder: Path) -> list[Device]:
    return read_fleet(folder)


def of(fleet: list[Device], kind: str) -> list[Device]:
    return [device for device in fleet if device.kind == kind]


def smoke_at(scenario: Scenario, fleet: list[Device], t: float, limit: float = 70) -> list[Device]:
    return [d for d in of(fleet, "smoke") if scenario.smoke(d, t) >= limit]


def first_second(scenario: Scenario, station: Device, level: float, until: int = 900) -> int | None:
    return next((t for t in range(until) if scenario.level(station, t) >= level), None)


def peak(scenario: Scenario, station: Device, until: int = 900) -> tuple[float, int]:
    return max((scenario.level(station, t), t) for t in range(0, until, 2))


def test_calm_is_calm(fleet: list[Device]) -> None:
    scenario = compose("calm", fleet, SEED)
    for t in (0.0, 33.3, 1800.0, 40_000.0, 500_000.0):
        assert not smoke_at(scenario, fleet, t, CALM_SMOKE_MAX)
        for station in of(fleet, "water"):
            assert station.warning_m is not None
            assert 0 <= scenario.level(station, t) < station.warning_m
    assert list(scenario.urgent(100)) == []
    assert scenario.rain(100) == 0


def test_calm_values_move(fleet: list[Device]) -> None:
    detector, station = of(fleet, "smoke")[7], of(fleet, "water")[3]
    assert len({round(calm_smoke(detector, 60.0 * n), 1) for n in range(30)}) > 10
    assert len({round(calm_level(station, 60.0 * n), 3) for n in range(30)}) > 10


@pytest.mark.parametrize("name", ALL)
def test_the_same_question_has_the_same_answer(fleet: list[Device], name: str) -> None:
    one, two = compose(name, fleet, SEED), compose(name, fleet, SEED)
    some = of(fleet, "smoke")[::97]
    for t in (250.0, 20.5, 111.1):
        assert [one.smoke(d, t) for d in some] == [two.smoke(d, t) for d in some]
        assert [one.level(d, t) for d in of(fleet, "water")] == [two.level(d, t) for d in of(fleet, "water")]
        assert list(one.detections(0, t)) == list(two.detections(0, t))
        assert [d.code for d in one.urgent(t)] == [d.code for d in two.urgent(t)]


@pytest.mark.parametrize("name", ALL)
def test_values_stay_in_their_range(fleet: list[Device], name: str) -> None:
    scenario = compose(name, fleet, SEED)
    for t in range(0, 700, 50):
        assert all(0 <= scenario.smoke(d, t) <= 100 for d in of(fleet, "smoke")[::7])
        assert all(0 <= scenario.level(d, t) < 40 for d in of(fleet, "water"))
        assert scenario.rain(t) >= 0
    assert all(0 < d.score < 1 for d in scenario.detections(0, 700))


@pytest.mark.parametrize("name", ALL)
def test_a_few_devices_have_never_been_heard(fleet: list[Device], name: str) -> None:
    scenario = compose(name, fleet, SEED)
    silent = [d for d in fleet if scenario.silent(d, 0)]
    assert len([d for d in silent if d.kind == "smoke"]) == 3
    assert len([d for d in silent if d.kind == "camera"]) == 1


@pytest.mark.parametrize("name", ["calm", "storm", "flap"])
def test_cameras_are_never_sure_without_a_cause(fleet: list[Device], name: str) -> None:
    said = list(compose(name, fleet, SEED).detections(0, 3600))
    assert 100 < len(said) <= 180
    assert all(d.score < 0.5 for d in said)


def test_detections_are_said_once_whatever_the_steps(fleet: list[Device]) -> None:
    whole = list(compose("fire", fleet, SEED).detections(0, 300))
    scenario = compose("fire", fleet, SEED)
    stepped = [d for n in range(3000) for d in scenario.detections(n / 10, (n + 1) / 10)]
    key = [(d.at, d.camera.code, d.identity, d.state) for d in whole]
    assert sorted(key) == sorted((d.at, d.camera.code, d.identity, d.state) for d in stepped)


def test_fire_begins_in_one_cell_and_reaches_its_neighbours(fleet: list[Device]) -> None:
    scenario = compose("fire", fleet, SEED)
    crossings: dict[str, tuple[int, str]] = {}
    near = list(scenario.urgent(200))
    for t in range(0, 240, 2):
        for device in smoke_at(scenario, near, t):
            crossings.setdefault(device.code, (t, device.cell))
    first_t, first_cell = min(crossings.values())
    assert 20 <= first_t <= 60
    others = [t for t, cell in crossings.values() if cell != first_cell]
    assert len(others) >= 5
    assert min(others) > first_t
    times = sorted(t for t, _ in crossings.values())
    assert times[len(times) * 4 // 5] <= 150, "the rest dither at the rim"
    assert len({cell for _, cell in crossings.values()}) <= 20, "a fire, not a district in flames"
    assert not smoke_at(scenario, fleet, 700, 60), "it is out"


@pytest.mark.parametrize("seed", range(6))
def test_a_camera_sees_the_fire(fleet: list[Device], seed: int) -> None:
    scenario = compose("fire", fleet, seed)
    seen = [d for d in scenario.detections(0, 400) if d.score > 0.6]
    assert {d.event for d in seen} == {"fire", "smoke"}
    fire = [d for d in seen if d.event == "fire"]
    assert (fire[0].state, fire[-1].state) == ("new", "end")
    assert {d.state for d in fire[1:-1]} == {"update"}
    assert not scenario.silent(fire[0].camera, 0)


def test_storm_crosses_levels_and_falls_again(fleet: list[Device]) -> None:
    scenario = compose("storm", fleet, SEED)
    stations = of(fleet, "water")
    warned = [first_second(scenario, s, s.warning_m or 0) for s in stations]
    reached = [t for t in warned if t is not None]
    assert len(reached) >= 40
    assert min(reached) <= 90
    assert sorted(reached)[len(reached) // 2] <= 180
    above = [s for s in stations if peak(scenario, s)[0] >= (s.guaranteed_m or 0)]
    assert 6 <= len(above) <= 30
    rivers = [peak(scenario, s)[1] for s in stations if s.station_kind == "river"]
    assert 150 <= min(rivers) <= max(rivers) <= 330
    assert all(scenario.level(s, 1500) < (s.warning_m or 0) for s in stations)
    assert scenario.rain(75) > 30
    assert scenario.rain(900) < 1


def test_the_wave_goes_down_the_river(fleet: list[Device]) -> None:
    scenario = compose("storm", fleet, SEED)
    stations = {s.code: s for s in of(fleet, "water")}
    # Ripples move a single crest by seconds, so three stations stand for each end of the main stem.
    crests = [peak(scenario, stations[f"WL-{n:02d}"])[1] for n in range(2, 11)]
    assert sum(crests[-3:]) / 3 > sum(crests[:3]) / 3 + 15


def test_a_circle_of_stations_ends() -> None:
    a, b = (
        Device(
            code=c, kind="water", cell="1", lon=0, lat=0, gateway="", interval_s=60, upstream=u, travel_min=5
        )
        for c, u in (("A", "B"), ("B", "A"))
    )
    scenario = compose("storm", [a, b], SEED)
    assert 0 <= scenario.level(a, 200) < 10


def test_outage_silences_the_gateway_and_its_children_only(fleet: list[Device]) -> None:
    scenario = compose("outage", fleet, SEED)
    [outage] = scenario.outages()
    behind = {d.code for d in fleet if outage.gateway.code in (d.code, d.gateway)}
    assert 21 <= len(behind) <= 61
    before = {d.code for d in fleet if scenario.silent(d, 19)}
    during = {d.code for d in fleet if scenario.silent(d, 300)}
    after = {d.code for d in fleet if scenario.silent(d, 1000)}
    assert during - before == behind - before
    assert after == before


def test_flap_crosses_its_limit_again_and_again(fleet: list[Device]) -> None:
    scenario = compose("flap", fleet, SEED)
    devices = list(scenario.urgent(20))
    assert len(devices) >= 6
    for device in devices:
        limit = device.warning_m if device.kind == "water" else 70
        assert limit is not None
        read = scenario.level if device.kind == "water" else scenario.smoke
        above = [read(device, float(t)) >= limit for t in range(10, 610, 3)]
        assert sum(a != b for a, b in itertools.pairwise(above)) >= 10, device.code
    assert any(
        scenario.smoke(d, float(t)) < 60 for d in devices if d.kind == "smoke" for t in range(10, 600, 3)
    )


def test_flood_of_alarms_is_hundreds_within_a_minute(fleet: list[Device]) -> None:
    scenario = compose("flood-of-alarms", fleet, SEED)
    assert not smoke_at(scenario, fleet, 9)
    raised = {d.code for t in range(10, 70, 2) for d in smoke_at(scenario, fleet, t)}
    assert len(raised) >= 300
    assert not smoke_at(scenario, fleet, 300, 60)


def onsets(scenario: Scenario, fleet: list[Device], until: int) -> list[int]:
    """Seconds at which something begins that a default rule would heed."""
    begun = [int(d.at) for d in scenario.detections(0, until) if d.score > 0.5 and d.state == "new"]
    before: set[str] = set()
    for t in range(0, until, 4):
        urgent = list(scenario.urgent(t))
        high = {d.code for d in urgent if d.kind == "smoke" and scenario.smoke(d, t) >= 70}
        high |= {d.code for d in urgent if d.kind == "water" and scenario.level(d, t) >= (d.warning_m or 0)}
        begun += [t] * len(high - before)
        before |= high
    return sorted(begun)


def test_demo_shows_something_soon_and_stays_calm(fleet: list[Device]) -> None:
    begun = onsets(compose("demo", fleet, SEED), fleet, 7200)
    assert begun[0] <= 40
    assert 24 <= len(begun) <= 31, "one in four minutes"
    gaps = [b - a for a, b in itertools.pairwise(begun)]
    assert sum(gap < 180 for gap in gaps) <= len(gaps) // 4


def test_demo_forgets_episodes_that_are_over(fleet: list[Device]) -> None:
    scenario = compose("demo", fleet, SEED)
    for t in range(0, 86_400, 120):
        list(scenario.urgent(t))
    [episodes] = [p for p in scenario.processes if isinstance(p, Episodes)]
    assert len(episodes.built) <= 3


def test_unknown_scenario_names_those_there_are(fleet: list[Device]) -> None:
    with pytest.raises(ValueError, match=r"'tsunami' is unknown; choose one of calm, demo, fire"):
        compose("tsunami", fleet, SEED)


@pytest.mark.parametrize(("name", "kind"), [("fire", "smoke"), ("storm", "water"), ("outage", "gateway")])
def test_a_fleet_that_cannot_play_is_refused(fleet: list[Device], name: str, kind: str) -> None:
    with pytest.raises(ValueError, match=f"0 devices of kind '{kind}'"):
        compose(name, [d for d in fleet if d.kind != kind], SEED)


@pytest.mark.parametrize("name", ALL)
def test_a_fleet_without_cameras_plays(fleet: list[Device], name: str) -> None:
    scenario = compose(name, [d for d in fleet if d.kind != "camera"], SEED)
    assert list(scenario.detections(0, 600)) == []


def test_fleet_is_read_with_levels_and_intervals(folder: Path, fleet: list[Device]) -> None:
    with (folder / "devices.csv").open(encoding="utf-8", newline="") as file:
        assert len(fleet) == len(list(csv.DictReader(file)))
    station = next(d for d in fleet if d.code == "WL-03")
    assert station.upstream == "WL-02"
    assert station.travel_min > 0
    assert station.topic == f"city/{station.cell}/water/WL-03"


def write(folder: Path, devices: str, **others: str) -> Path:
    (folder / "devices.csv").write_text("code,kind,cell,lon,lat,expected_interval_s\n" + devices, "utf-8")
    for name, text in others.items():
        (folder / name.replace("_", ".")).write_text(text, "utf-8")
    return folder


def test_empty_interval_is_the_kinds(tmp_path: Path) -> None:
    kinds = "[kind.smoke]\nexpected_interval_s = 77\n"
    one, two = read_fleet(
        write(tmp_path, "S1,smoke,c1,,,\nC1,camera,c1,1,2,\nX,lamp,c1,1,2,9\n", kinds_toml=kinds)
    )
    assert (one.interval_s, one.lon, two.interval_s) == (77, 0, 60)


@pytest.mark.parametrize(
    ("devices", "others", "named"),
    [
        ("S1,smoke,c1,east,2,60\n", {}, r"line 2, device 'S1'.*'east'"),
        ("W1,water,c1,1,2,60\n", {"stations_csv": "code,warning_m\nW1,high\n"}, r"device 'W1'.*'high'"),
        ("X1,lamp,c1,1,2,60\n", {}, "no device to play"),
    ],
)
def test_a_folder_that_cannot_be_played_is_named(
    tmp_path: Path, devices: str, others: dict[str, str], named: str
) -> None:
    with pytest.raises(FolderError, match=named):
        read_fleet(write(tmp_path, devices, **others))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"devices\.csv: missing"):
        read_fleet(tmp_path)
