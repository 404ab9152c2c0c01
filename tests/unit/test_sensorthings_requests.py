"""What a SensorThings request asks, read without a database: filters, options, addresses, ids."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.sensorthings import address, filters, options
from city.sensorthings.filters import Call, Compare, Every, Negated, Path, Value
from city.sensorthings.model import ENTITIES, METRICS, SensorThingsError, key_of

THINGS, OBSERVATIONS = ENTITIES["Things"], ENTITIES["Observations"]


def wrong(text: str, entity: str = "Things") -> SensorThingsError:
    with pytest.raises(SensorThingsError) as caught:
        filters.parse(text, ENTITIES[entity])
    return caught.value


# ── filters ──────────────────────────────────────────────────────────────────────────────────────────


def test_and_binds_before_or_and_not_before_both() -> None:
    read = filters.parse("name eq 'a' or not name eq 'b' and name eq 'c'", THINGS)
    assert isinstance(read, Every)
    assert read.any_of
    first, second = read.parts
    assert isinstance(first, Compare)
    assert isinstance(second, Every)
    assert not second.any_of
    assert isinstance(second.parts[0], Negated)


def test_products_bind_before_sums() -> None:
    read = filters.parse("id add 2 mul 3 gt 7", THINGS)
    assert isinstance(read, Compare)
    assert isinstance(read.left, Call)
    assert (read.left.name, read.left.arguments[1]) == (
        "add",
        Call(
            name="mul",
            arguments=(Value(value=2, kind="integer"), Value(value=3, kind="integer")),
            kind="number",
        ),
    )


@pytest.mark.parametrize(
    "text", ["(id add 2) mul 3 gt 7", "((id)) eq 3", "not ((id eq 3))", "7 lt ((id add 2) mul 3)"]
)
def test_parentheses_hold_conditions_and_operands(text: str) -> None:
    filters.parse(text, THINGS)


def test_quotes_are_doubled_and_nothing_else_is_special() -> None:
    read = filters.parse("name eq 'it''s %s {0} \\ ; --'", THINGS)
    assert isinstance(read, Compare)
    assert read.right == Value(value="it's %s {0} \\ ; --", kind="text")


def test_a_path_names_what_it_leads_to() -> None:
    read = filters.parse("Datastream/ObservedProperty/name eq 'Level'", OBSERVATIONS)
    assert isinstance(read, Compare)
    assert isinstance(read.left, Path)
    assert (read.left.through, read.left.owner) == (("Datastream", "ObservedProperty"), "ObservedProperties")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-01", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-01T02:03:04Z", datetime(2026, 5, 1, 2, 3, 4, tzinfo=UTC)),
        ("2026-05-01T02:03:04.123456789+08:00", datetime(2026, 4, 30, 18, 3, 4, 123456, tzinfo=UTC)),
    ],
)
def test_times(text: str, expected: datetime) -> None:
    read = filters.parse(f"phenomenonTime ge {text}", OBSERVATIONS)
    assert isinstance(read, Compare)
    assert read.right == Value(value=expected, kind="time")


WRONG = (
    "", "name", "name eq", "eq 'x'", "name eq 'x' and", "name eq 'x')", "(name eq 'x'", "name = 'x'", "name eq 'x",
    "name eq 3", "id eq '3'", "colour eq 'x'", "Datastreams eq 3", "properties eq 'x'", "location eq 'x'",
    "startswith(name) eq true", "startswith(name, 3)", "length('x')", "nothing(name)", "name add 'x' eq 'y'",
    "id eq 99999999999999999999", "id eq 1e999", "name eq 'a\tb'", "name eq 'x' name eq 'y'", "true eq 'x'",
    "phenomenonTime eq 2026-13-45",
)  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_cannot_be_read_is_400(text: str) -> None:
    entity = "Observations" if text.startswith("phenomenon") else "Things"
    assert (wrong(text, entity).status, wrong(text, entity).field) == (400, "$filter")


@pytest.mark.parametrize(
    "text", ["name eq null", "id mod 2 eq 0", "date(now()) eq 2026-05-01", "now() gt duration'P1D'"]
)
def test_what_is_of_the_standard_but_not_spoken_is_501(text: str) -> None:
    assert wrong(text).status == 501


@pytest.mark.parametrize(
    "text",
    [
        "(" * 500 + "id eq 1" + ")" * 500,
        "not " * 3_000,
        "id eq 1 and " * 1_000,
        "length(" * 400,
        "name eq '" + "x" * 5_000,
    ],
)
def test_hostile_filters_are_bounded(text: str) -> None:
    assert wrong(text).status == 400


WORDS = st.sampled_from(
    [
        "name",
        "id",
        "eq",
        "and",
        "or",
        "not",
        "(",
        ")",
        "'x'",
        "3",
        "2.5",
        "length(",
        ",",
        "/",
        "Datastreams",
        "add",
        "null",
    ]
)


@given(st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=25).map(" ".join)))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        filters.parse(text, THINGS)
        status = 200
    except SensorThingsError as error:
        status = error.status
    assert status in (200, 400, 501)


LEAVES = st.one_of(
    st.builds("name eq '{}'".format, st.text("abc ", max_size=5)),
    st.builds("id {} {}".format, st.sampled_from(["lt", "ge", "ne"]), st.integers(-9, 9)),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        st.builds("not ({})".format, inner),
    ),
    max_leaves=12,
)


@given(TREES)
def test_what_is_written_by_the_grammar_is_read(text: str) -> None:
    assert filters.parse(text, THINGS) == filters.parse(f"( {text} )", THINGS)


# ── options ──────────────────────────────────────────────────────────────────────────────────────────


def asked(entity: str = "Things", **given: str) -> options.Query:
    return options.parse(ENTITIES[entity], [(f"${name}", value) for name, value in given.items()])


def test_every_order_ends_with_the_key() -> None:
    columns = [
        (one.property.column, one.falling) for one in asked("Observations", orderby="result desc").order
    ]
    assert columns == [("value", True), ("device_id", True), ("metric_id", True), ("observed_at", True)]
    assert [one.property.column for one in asked().order] == ["id"]


def test_a_large_top_is_a_full_page() -> None:
    assert (asked(top="5000").top, asked(top="0").top, asked().top) == (1_000, 0, 100)


def test_expansions_within_expansions() -> None:
    query = asked(
        expand="Datastreams($top=2;$filter=name eq 'a;b,(c';$expand=Sensor,Observations($top=1)),Locations"
    )
    streams, locations = query.expand
    assert (streams.navigation, streams.query.top, locations.navigation) == ("Datastreams", 2, "Locations")
    assert [one.navigation for one in streams.query.expand] == ["Sensor", "Observations"]
    slashed = asked(expand="Datastreams/Sensor,Datastreams/ObservedProperty").expand
    assert [one.navigation for one in slashed] == ["Datastreams"]
    assert [one.navigation for one in slashed[0].query.expand] == ["Sensor", "ObservedProperty"]


EXPANSIONS = (
    "", "Nothing", "Datastreams(", "Datastreams($top=1", "Datastreams)", "Datastreams($top)",
    "Datastreams($skiptoken=W10)", "Datastreams($top=1),Datastreams($top=2)",
    "Locations,,Datastreams", "Locations/Things/Locations/Things",
    "Datastreams(" * 50, "Datastreams($filter=name eq 'x)",
)  # fmt: skip


@pytest.mark.parametrize("text", EXPANSIONS)
def test_expansions_that_are_none(text: str) -> None:
    with pytest.raises(SensorThingsError) as caught:
        asked(expand=text)
    assert caught.value.status == 400


def test_a_token_is_good_for_its_own_list_only() -> None:
    values = (1.5, 7, 3, datetime(2026, 5, 1, tzinfo=UTC))
    token = options.token(values)
    assert asked("Observations", orderby="result", skiptoken=token).after == values
    for entity, said in (("Observations", {}), ("Things", {}), ("Observations", {"orderby": "result,id"})):
        with pytest.raises(SensorThingsError):
            asked(entity, skiptoken=token, **said)


# ── addresses and ids ────────────────────────────────────────────────────────────────────────────────


def test_addresses() -> None:
    read = address.parse("Things(7)/Datastreams(229379)/Observations")
    assert [(step.entity.plural, step.key) for step in read.steps] == [
        ("Things", (7,)), ("Datastreams", (7, 3)), ("Observations", None),
    ]  # fmt: skip
    assert read.many
    single = address.parse("Datastreams(229379)/Thing/name/$value")
    assert (single.many, single.name, single.form) == (False, "name", "value")
    assert address.parse("Things/$ref").form == "ref"


@pytest.mark.parametrize(
    "path",
    ["", "Thing", "Things(", "Things(1", "Things(1)(2)", "Things(-1)", "Things(1.5)", "Things('1)", "Things(1)/$value",
     "Things/name", "Things(1)/Datastreams/Sensor", "Things(1)/name/$ref", "Datastreams(7)/Thing(1)", "/Things",
     "Things(1)//name", "Things(²)", "/".join(["Things(1)"] * 20)],
)  # fmt: skip
def test_addresses_that_are_none(path: str) -> None:
    with pytest.raises(SensorThingsError) as caught:
        address.parse(path)
    assert caught.value.status in (400, 404)


def test_ids_are_made_of_device_metric_and_instant() -> None:
    stream = 7 * METRICS + 3
    assert key_of(ENTITIES["Datastreams"], str(stream)) == (7, 3)
    assert key_of(OBSERVATIONS, f"{stream}-1777593600000001") == (
        7, 3, datetime(2026, 5, 1, microsecond=1, tzinfo=UTC),
    )  # fmt: skip
    for odd in ("", "7", f"{stream}-", f"{stream}-x", f"{stream}-999999999999999999", "-1", "3-1"):
        assert key_of(OBSERVATIONS, odd) is None
