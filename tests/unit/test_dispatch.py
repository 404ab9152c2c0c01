"""Who has it, why and by when; and what the lane says when nobody does."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from city.directory import Directory, Place
from city.units import Category, Responsibility, Unit
from command_centre.dispatch import Matter, decide, due_for, opening

SHANGHAI = ZoneInfo("Asia/Shanghai")
SATURDAY_NOON = datetime(2026, 11, 21, 4, tzinfo=UTC)
CELL, COMMUNITY, STREET, DISTRICT, ELSEWHERE = 1, 2, 3, 4, 5


def place(area_id: int, layer: str, name: str, name_en: str) -> Place:
    return Place(area_id=area_id, layer=layer, code=f"a{area_id}", name=name, name_en=name_en)


def unit(unit_id: int, name: str) -> Unit:
    return Unit(
        id=unit_id,
        code=f"u{unit_id}",
        name=name,
        name_en=f"Unit {unit_id}",
        kind="",
        parent=None,
        lead="",
        phone="",
        lead_phone="",
        email="",
        lead_email="",
        webhook_url="",
    )


def entry(
    category: str, area_id: int | None, unit_id: int, limit: int | None = None, urgency: str | None = None
) -> Responsibility:
    return Responsibility(
        category=category,
        area_id=area_id,
        unit_id=unit_id,
        incident_class=urgency,  # type: ignore[arg-type]  # A, B or C
        limit_minutes=limit,
        clock=None,
    )


def directory(*entries: Responsibility, active: frozenset[int] = frozenset({1, 2, 3, 4})) -> Directory:
    places = (
        place(CELL, "cell", "一格", "Cell One"),
        place(COMMUNITY, "community", "一社区", "Community One"),
        place(STREET, "street", "东街", "East Street"),
        place(DISTRICT, "district", "示范区", "Demo"),
    )
    return Directory(
        version=1,
        district_code="440399",
        zone=SHANGHAI,
        places={CELL: places, 50: (place(50, "cell", "陌生格", ""),)},
        categories={
            "fire": Category(
                code="fire",
                parent=None,
                name="火情",
                name_en="Fire",
                incident_class="A",
                limit_minutes=30,
                clock="natural",
            ),
            "fire.smoke": Category(
                code="fire.smoke",
                parent="fire",
                name="烟雾报警",
                name_en="Smoke alarm",
                incident_class="B",
                limit_minutes=40,
                clock="natural",
            ),
            "facility": Category(
                code="facility",
                parent=None,
                name="市政设施",
                name_en="Facilities",
                incident_class="C",
                limit_minutes=480,
                clock="working",
            ),
        },
        join_minutes={},
        units={number: unit(number, f"单位{number}") for number in range(1, 5)},
        active=active,
        responsibilities=entries,
        calendar={},
    )


SMOKE = Matter(category="fire.smoke", cell_id=CELL)


def test_the_smallest_place_wins() -> None:
    known = directory(
        entry("fire", None, 1), entry("fire", STREET, 2), entry("fire", COMMUNITY, 3), entry("fire", CELL, 4)
    )
    decision = decide(SMOKE, known, SATURDAY_NOON)
    assert decision.unit is not None
    assert decision.unit.code == "u4"


def test_the_longer_category_wins_over_the_smaller_place() -> None:
    decision = decide(SMOKE, directory(entry("fire", CELL, 1), entry("fire.smoke", None, 2)), SATURDAY_NOON)
    assert decision.unit is not None
    assert decision.unit.code == "u2"


def test_a_prefix_ends_at_a_dot_and_other_places_do_not_count() -> None:
    known = directory(entry("fire.smo", None, 1), entry("fire", ELSEWHERE, 2))
    assert decide(SMOKE, known, SATURDAY_NOON).unit is None


def test_the_reason_names_entry_unit_and_limit_in_both_languages() -> None:
    decision = decide(SMOKE, directory(entry("fire", STREET, 2, limit=15)), SATURDAY_NOON)
    assert decision.reason == "职责清单：fire × 东街 → 单位2，时限15分钟（自然时）"
    assert decision.reason_en == "responsibility list: fire x East Street -> Unit 2, 15 natural minutes"
    assert decision.due_at == SATURDAY_NOON + timedelta(minutes=15)


def test_an_inactive_unit_is_passed_over_and_said_so() -> None:
    known = directory(entry("fire", CELL, 1), entry("fire", STREET, 2), active=frozenset({2}))
    decision = decide(SMOKE, known, SATURDAY_NOON)
    assert decision.unit is not None
    assert decision.unit.code == "u2"
    assert "单位1已停用" in decision.reason
    assert "Unit 1 is in the list but no longer active" in decision.reason_en


def test_nobody_responsible_says_what_is_missing_and_still_has_a_deadline() -> None:
    decision = decide(SMOKE, directory(), SATURDAY_NOON)
    assert decision.unit is None
    assert "东街没有单位负责烟雾报警（fire.smoke）" in decision.reason
    assert "no unit is responsible for Smoke alarm (fire.smoke) in East Street" in decision.reason_en
    assert decision.due_at == SATURDAY_NOON + timedelta(minutes=40)


def test_doubts_are_said() -> None:
    matter = Matter(category="fire.smoke", cell_id=50, unclaimed_device="S-9", late=True)
    decision = decide(matter, directory(entry("fire", None, 1)), SATURDAY_NOON)
    assert decision.unit is not None
    for doubt in ("S-9未认领", "网格不在区划内", "迟到"):
        assert doubt in decision.reason
    for doubt in ("S-9 is unclaimed", "not on the district's map", "late"):
        assert doubt in decision.reason_en


def test_no_place_at_all() -> None:
    decision = decide(Matter(category="fire.smoke", cell_id=None), directory(), SATURDAY_NOON)
    assert "位置未知" in decision.reason
    assert "the place is unknown" in decision.reason_en


def test_an_unknown_category_is_b_within_an_hour_and_said() -> None:
    decision = decide(
        Matter(category="aliens", cell_id=CELL), directory(entry("aliens", None, 1)), SATURDAY_NOON
    )
    assert decision.incident_class == "B"
    assert decision.due_at == SATURDAY_NOON + timedelta(hours=1)
    assert "category aliens is not in the catalogue" in decision.reason_en


def test_a_new_leaf_takes_its_parents_terms() -> None:
    decision = decide(Matter(category="fire.new", cell_id=CELL), directory(), SATURDAY_NOON)
    assert decision.incident_class == "A"
    assert decision.due_at == SATURDAY_NOON + timedelta(minutes=30)


def test_working_minutes_rest_at_the_weekend() -> None:
    decision = decide(
        Matter(category="facility", cell_id=CELL), directory(entry("facility", None, 1)), SATURDAY_NOON
    )
    monday = datetime(2026, 11, 23, tzinfo=SHANGHAI).astimezone(UTC)
    assert decision.due_at > monday
    assert "工作时" in decision.reason


def test_a_person_choosing_a_unit_gets_that_units_limit() -> None:
    known = directory(entry("fire", STREET, 2, limit=15), entry("fire", None, 3, limit=90))
    assert due_for("fire.smoke", 3, CELL, known, SATURDAY_NOON) == SATURDAY_NOON + timedelta(minutes=90)
    assert due_for("fire.smoke", 4, CELL, known, SATURDAY_NOON) == SATURDAY_NOON + timedelta(minutes=40)


def test_an_opening_is_dispatched_or_in_the_lane_never_neither() -> None:
    for entries in ((entry("fire", None, 1),), ()):
        decision = decide(SMOKE, directory(*entries), SATURDAY_NOON)
        change = opening(SMOKE, decision, SATURDAY_NOON, actor="system", source="alarm", title="", detail={})
        assert (change.incident.state == "dispatched") == bool(entries)
        assert [tell.purpose for tell in change.tells] == (["order"] if entries else [])
        assert change.incident.reason


@given(
    st.lists(
        st.builds(
            entry,
            st.sampled_from(["fire", "fire.smoke", "facility"]),
            st.sampled_from([None, CELL, COMMUNITY, STREET, DISTRICT, ELSEWHERE]),
            st.integers(1, 4),
            st.none() | st.integers(1, 500),
            st.sampled_from([None, "A", "B", "C"]),
        ),
        max_size=8,
    ),
    st.sampled_from([None, "A", "B", "C"]),
    st.frozensets(st.integers(1, 4)),
)
def test_always_an_owner_or_a_reason_and_never_less_urgent(
    entries: list[Responsibility], alarm_class: str | None, active: frozenset[int]
) -> None:
    matter = Matter(category="fire.smoke", cell_id=CELL, alarm_class=alarm_class)  # type: ignore[arg-type]  # A, B or C
    decision = decide(matter, directory(*entries, active=active), SATURDAY_NOON)
    fits = [
        each
        for each in entries
        if each.unit_id in active and each.category.startswith("fire") and each.area_id != ELSEWHERE
    ]
    assert (decision.unit is not None) == bool(fits)
    assert decision.unit is None or decision.unit.id in active
    assert decision.incident_class <= min("B", alarm_class or "C")
    assert decision.reason
    assert decision.reason_en
    assert decision.due_at > SATURDAY_NOON
