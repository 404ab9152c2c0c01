"""Warnings as CAP, whatever was typed: valid, complete, marked when they are exercises."""

from datetime import UTC, datetime, timedelta, timezone
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from city.errors import CityError
from city.flood import COLOURS, Colour, Content, Hazard, MessageType, Place, Sent, StationFact
from command_centre.flood import cap_check, cap_xml, defaults, feed, warnings
from command_centre.flood.cap import Reference
from command_centre.flood.outlines import MOST_POLYGONS, polygons
from command_centre.flood.warnings import MEANINGS, Circumstances

CHINA = timezone(timedelta(hours=8))
NOON = datetime(2026, 7, 22, 12, tzinfo=CHINA)
KNOWN = defaults.load(None)


def place(code: str = "C1", *, layer: str = "cell", west: float = 114.0, name: str = "网格一") -> Place:
    box = shapely.box(west, 22.5, west + 0.1, 22.6)
    return Place(layer=layer, code=code, name=name, name_en="Cell 1", geometry=shapely.geometry.mapping(box))


def circumstances(**changes: Any) -> Circumstances:
    parts: dict[str, Any] = {
        "district": "440399",
        "district_name": "示范区",
        "district_name_en": "Demonstration",
        "sender": KNOWN.sender,
        "now": NOON,
        "places": (place(),),
    }
    return Circumstances(**{**parts, **changes})


def content(**changes: Any) -> Content:
    parts: dict[str, Any] = {"colour": "red", "expires": NOON + timedelta(hours=6)}
    return Content(**{**parts, **changes})


# ── colours ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("colour", "grade", "severity"),
    [
        ("blue", "IV", "Minor"),
        ("yellow", "III", "Moderate"),
        ("orange", "II", "Severe"),
        ("red", "I", "Extreme"),
    ],
)
def test_what_a_colour_means(colour: Colour, grade: str, severity: str) -> None:
    made = warnings.message(content(colour=colour), "Alert", "n-1", circumstances())
    for info in made.infos:
        parameters = {one.name: one.value for one in info.parameters}
        assert (parameters["colour"], parameters["warning_grade"], info.severity) == (colour, grade, severity)
    assert set(MEANINGS) == set(COLOURS)


def test_a_station_over_its_warning_level_makes_it_observed() -> None:
    over = StationFact(code="W1", name="桥头", state="warning", level_m=3.2, warning_m=3.0)
    under = StationFact(code="W1", name="桥头", state="normal", level_m=2.2, warning_m=3.0)
    said = {
        station.state: warnings.message(content(), "Alert", "n", circumstances(stations=[station])).infos[0]
        for station in (over, under)
    }
    assert (said["warning"].certainty, said["normal"].certainty) == ("Observed", "Likely")
    assert said["warning"].description == "桥头 3.20 m（警戒 3.00 m）：警戒水位"


def test_a_cancellation_gives_the_all_clear() -> None:
    earlier = (Reference(sender="s", identifier="n-1", sent=NOON),)
    made = warnings.message(content(headline="自拟标题"), "Cancel", "n-2", circumstances(references=earlier))
    assert cap_check.faults(made) == []
    zh, en = made.infos
    assert (zh.responses, zh.urgency, zh.headline) == (
        ("AllClear",),
        "Past",
        "示范区解除洪水红色预警（网格一）",
    )
    assert en.headline == "Red flood warning ended: Cell 1"


def test_an_exercise_says_so_everywhere() -> None:
    made = warnings.message(content(), "Alert", "n-1", circumstances(exercise=True))
    assert made.status == "Exercise"
    assert "Exercise" in made.note
    assert [info.headline.split(" ")[0][:4] for info in made.infos] == ["【演练】", "[EXE"]


def test_many_areas_are_counted_in_the_headline() -> None:
    many = [place(f"C{n}", name=f"网格{n}") for n in range(12)]
    made = warnings.message(content(), "Alert", "n", circumstances(places=many))
    assert made.infos[0].headline == "示范区发布洪水红色预警（网格0、网格1、网格2等12处）"
    assert "网格11" in made.infos[0].areas[0].description
    assert len(made.infos[0].areas[0].geocodes) == 12


def test_identifiers_hold_nothing_that_cap_forbids() -> None:
    assert warnings.identifier("440399", 7, 2, NOON) == "440399-flood-20260722120000-7-2"
    assert warnings.identifier("示 范,<区>", 1, 1, NOON) == "--------flood-20260722120000-1-1"


def test_landslides_are_geophysical() -> None:
    made = warnings.message(content(hazard="landslide"), "Alert", "n", circumstances())
    assert made.infos[0].categories == ("Geo",)
    assert made.infos[1].event == "Landslide"


@pytest.fixture(scope="session")
def schema(shared_data: Path) -> etree.XMLSchema:
    path = shared_data / "vectors" / "cap" / "CAP-v1.2.xsd"
    if not path.is_file():
        pytest.skip(f"no CAP schema at {path}")
    return etree.XMLSchema(etree.parse(path))


typed = st.text(max_size=120)
contents = st.builds(
    Content,
    colour=st.sampled_from(COLOURS),
    hazard=st.sampled_from(get_args(Hazard)),
    headline=typed,
    headline_en=typed,
    description=st.text(max_size=500),
    description_en=typed,
    instruction=typed,
    instruction_en=typed,
    onset=st.none() | st.just(NOON + timedelta(hours=1)),
    expires=st.integers(2, 72).map(lambda hours: NOON + timedelta(hours=hours)),
    certainty=st.sampled_from([None, "Observed", "Likely", "Possible"]),
)
stations = st.lists(
    st.builds(
        StationFact,
        code=st.from_regex(r"[A-Za-z0-9-]{1,20}", fullmatch=True),
        name=typed,
        state=st.sampled_from(["normal", "warning", "silent", "unset"]),
        level_m=st.none() | st.floats(-500, 9000),
        warning_m=st.none() | st.floats(-500, 9000),
    ),
    max_size=3,
)


@given(contents, stations, st.sampled_from(get_args(MessageType)), st.booleans(), typed)
def test_whatever_is_typed_the_message_validates(
    schema: etree.XMLSchema,
    said: Content,
    read: list[StationFact],
    kind: MessageType,
    exercise: bool,
    name: str,
) -> None:
    earlier = () if kind == "Alert" else (Reference(sender="s", identifier="n-1", sent=NOON),)
    given_ = circumstances(
        stations=read,
        references=earlier,
        exercise=exercise,
        places=(place(name=name), place("C2", west=115.0)),
    )
    made = warnings.message(said, kind, "n-2", given_)
    assert warnings.faults(said, made, timedelta(hours=72), []) == []
    written = cap_xml.write(made)
    schema.assertValid(etree.fromstring(written))
    assert cap_xml.parse(written) == made


# ── outlines ─────────────────────────────────────────────────────────────────────────────────────────


def as_shape(polygon: tuple[tuple[float, float], ...]) -> shapely.Polygon:
    return shapely.Polygon([(lon, lat) for lat, lon in polygon])


def test_cells_that_touch_are_one_outline_and_others_their_own() -> None:
    found = polygons([place("C1"), place("C2", west=114.1), place("C3", west=115.0)])
    assert len(found) == 2
    assert sum(as_shape(one).area for one in found) == pytest.approx(0.03)
    assert polygons([Place(layer="cell", code="C", name="", name_en="", geometry=None)]) == ()


def test_a_ragged_outline_is_smoothed_and_leaves_nobody_out() -> None:
    angles = np.linspace(0, 2 * np.pi, 5000, endpoint=False)
    radius = 0.1 + 0.01 * np.sin(40 * angles) + 0.002 * np.sin(900 * angles)
    ragged = shapely.Polygon(np.column_stack([114 + radius * np.cos(angles), 22.5 + radius * np.sin(angles)]))
    holed = ragged.difference(shapely.box(113.99, 22.49, 114.01, 22.51))
    drawn = Place(layer="street", code="S", name="", name_en="", geometry=shapely.geometry.mapping(holed))
    (one,) = polygons([drawn])
    assert len(one) <= cap_check.MOST_POINTS
    assert one[0] == one[-1]
    assert as_shape(one).is_valid
    assert as_shape(one).buffer(2e-5).covers(ragged)
    assert as_shape(one).area < 1.2 * ragged.area


def test_scattered_cells_are_bounded() -> None:
    scattered = [
        Place(layer="cell", code=str(n), name="", name_en="", geometry=shapely.geometry.mapping(
            shapely.box(114 + n % 20 / 50, 22 + n // 20 / 50, 114.01 + n % 20 / 50, 22.01 + n // 20 / 50)))
        for n in range(400)
    ]  # fmt: skip
    found = polygons(scattered)
    assert 1 <= len(found) <= MOST_POLYGONS
    whole = shapely.union_all([as_shape(one) for one in found]).buffer(2e-5)
    assert all(whole.covers(shapely.geometry.shape(cell.geometry)) for cell in scattered)


def test_an_outline_that_crosses_itself_is_mended() -> None:
    bow: dict[str, object] = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
    found = polygons([Place(layer="cell", code="C", name="", name_en="", geometry=bow)])
    assert len(found) == 2
    assert all(as_shape(one).is_valid for one in found)


# ── the feed ─────────────────────────────────────────────────────────────────────────────────────────


def sent(number: int, **changes: Any) -> Sent:
    parts: dict[str, Any] = {
        "identifier": f"n-{number}",
        "warning_id": 1,
        "message_type": "Alert",
        "exercise": False,
        "colour": "red",
        "sender": "s",
        "sent": datetime(2026, 7, 22, number, tzinfo=UTC),
        "headline": "红色预警 <&>",
        "headline_en": "Red \x00warning",
        "xml": b"",
        "sha256": b"",
    }
    return Sent(**{**parts, **changes})


def test_the_feed_is_atom() -> None:
    made = feed.feed(
        [sent(9), sent(8)], base="https://x", district="440399", name="区", name_en="D", exercise=False
    )
    tree = etree.fromstring(made)
    found = {one.tag.split("}")[1] for one in tree.iter()}
    assert {"id", "title", "updated", "author", "entry", "link", "summary"} <= found
    updated = [one.text for one in tree.iter("{http://www.w3.org/2005/Atom}updated")]
    assert updated == ["2026-07-22T09:00:00Z", "2026-07-22T09:00:00Z", "2026-07-22T08:00:00Z"]
    again = feed.feed([], base="https://x", district="", name="", name_en="", exercise=True)
    assert feed.newest_change([]) == feed.BEFORE_ALL
    assert "演练" in etree.fromstring(again)[1].text


# ── the file of defaults ─────────────────────────────────────────────────────────────────────────────


def test_a_districts_own_file_replaces_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "flood.toml").write_text(
        '[holding]\nlower_after_h = 6\nwithdraw_after_min = 10\n[[shift]]\nname = "早"\nname_en = "early"\n'
        'begins = "06:00"\n',
        encoding="utf-8",
    )
    own = defaults.load(tmp_path)
    assert own.holding.lower_after == timedelta(hours=6)
    assert [shift.name for shift in own.shifts] == ["早"]
    assert own.triggers == KNOWN.triggers
    assert defaults.load(tmp_path / "nothing") == KNOWN


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[holding]\nlower_after_h = 0\nwithdraw_after_min = 10\n", "lower_after_h = 0"),
        ("[holding]\nlower_after = 6\n", "lower_after_h"),
        ("shift = []\n", "name at least one"),
        ('[sender]\naddress = "a"\n', "name"),
        ("[[trigger]]\nid = 'a'\n", "kind = None"),
        ("not toml", "flood.toml"),
    ],
)
def test_a_wrong_file_is_said_with_its_key(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "flood.toml").write_text(text, encoding="utf-8")
    with pytest.raises(CityError) as caught:
        defaults.load(tmp_path)
    assert said in str(caught.value)
    assert "flood.toml" in str(caught.value)


def test_the_built_in_file_lies_beside_the_others() -> None:
    assert (resources.files("city") / "defaults" / defaults.NAME).is_file()
