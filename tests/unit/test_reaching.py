"""Every route says how far it reaches, is held to it, and is found by gate and router alike."""

import ast
import re
from itertools import product
from pathlib import Path
from typing import get_args

import pytest
from fastapi.routing import iter_route_contexts

import command_centre
from city.reach import WHOLE, of_account
from city.storage.reach import THINGS
from command_centre.accounts import Role
from command_centre.api import access_drawn
from command_centre.api.access import TABLE, Rule, rule
from command_centre.api.app import routes
from command_centre.api.caller import Caller
from command_centre.api.problem import Problem
from command_centre.api.reaching import NAMED, REACH, held, kind_of, named_by, reach_of

ROOT = Path(command_centre.__file__).parent
RULES = [Rule(method=method, path=path, needs=needs) for (method, path), needs in TABLE.items()]
# The only files that may reach a connection past ``services.transaction``: who calls is asked before it is known.
PAST = {
    "api/services.py",
    "api/allowances.py",
    "api/gate.py",
    "api/witness.py",
    "api/turnstile.py",
    "api/screen/admission.py",
    "api/screen/feed.py",
    "main.py",
    # Neither asks for anybody: which migrations there are, and whether another centre is alive.
    "readiness.py",
    "api/screen/parting.py",
}


def caller(role: Role = "dispatcher", scope: str | None = "s1") -> Caller:
    return Caller(
        actor="user:7",
        name="li",
        display_name="",
        role=role,
        must_change=False,
        token=None,
        scope=scope,
        unit_id=3,
    )


def row(method: str, path: str) -> Rule:
    return Rule(method=method, path=path, needs=TABLE[method, path])


def test_every_route_says_how_far_it_reaches() -> None:
    forgotten = [(one.method, one.path) for one in RULES if kind_of(one) is None]
    assert not forgotten, f"add them to command_centre.api.reaching.REACH: {forgotten}"


def test_every_line_of_the_table_is_some_routes() -> None:
    paths = {one.path for one in RULES}
    assert {prefix for prefix in REACH if not any(path.startswith(prefix) for path in paths)} == set()
    assert {prefix for prefix in NAMED if not any(path.startswith(prefix) for path in paths)} == set()
    assert {kind for kind, *_ in NAMED.values() if not kind.startswith("{")} <= THINGS


def test_every_handler_takes_the_reach_of_its_caller() -> None:
    unheld = []
    for context in iter_route_contexts(routes().routes):
        dependant = getattr(context, "dependant", None) or getattr(context.route, "dependant", None)
        calls = {one.call for one in dependant.dependencies} if dependant is not None else set()
        if held not in calls and context.path != "/ws/screen":
            unheld.append(context.path)
    assert unheld == []


def test_every_parameter_that_names_a_place_or_a_units_thing_is_looked_up() -> None:
    free = {
        "/api/labels/{sort}/sheet.svg", "/api/register/export/{file}",  # lists, which the policies keep
        "/api/units/{code}/roster", "/api/field/incidents/{incident_id}/caller",
    }  # fmt: skip
    unchecked = [
        one.path
        for one in RULES
        if kind_of(one) in ("area", "both") and "{" in one.path and named_by(one) is None and one.path not in free
        and ":path}" not in one.path and (one.method, one.path) != ("PUT", "/api/patrol/routes/{code}")
    ]  # fmt: skip
    assert unchecked == []


def test_no_route_goes_round_the_transactions_that_are_held() -> None:
    found = set()
    for file in ROOT.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Attribute)
                and node.attr == "connection"
                and "pool" in ast.unparse(node.value)
            ):
                found.add(str(file.relative_to(ROOT)))
    assert found <= PAST


def test_an_area_holds_and_the_whole_district_does_not() -> None:
    assert reach_of(row("GET", "/api/incidents"), caller(scope=None)) is WHOLE
    reach = reach_of(row("GET", "/api/incidents"), caller())
    assert (reach.scope, reach.unit_id, reach.held, reach.whole) == ("s1", 3, False, False)
    assert of_account("handler", None, 3, "user:7").held
    assert reach_of(row("GET", "/api/session"), caller()) is WHOLE  # one's own
    assert reach_of(row("GET", "/api/wall/sensing"), None, "s2").scope == "s2"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/users"),
        ("GET", "/api/handovers"),
        ("PUT", "/api/calendar"),
        ("POST", "/api/flood/response/set"),
    ],
)
def test_what_is_the_districts_is_not_changed_from_an_area(method: str, path: str) -> None:
    with pytest.raises(Problem) as caught:
        reach_of(row(method, path), caller("administrator"))
    assert caught.value.status == 403
    assert reach_of(row(method, path), caller("administrator", scope=None)) is WHOLE


def test_a_route_that_the_table_forgot_is_for_the_whole_district_alone() -> None:
    unknown = Rule(method="GET", path="/api/new-thing", needs="viewer")
    with pytest.raises(Problem):
        reach_of(unknown, caller())
    assert reach_of(unknown, caller(scope=None)) is WHOLE


# ── two patterns that match one address ───────────────────────────────────────────────────────────────


def _samples(one: str, other: str) -> list[str]:
    """Addresses of ``one`` that ``other`` may match too: its parameters filled with what stands there in ``other``."""
    filled = []
    theirs = other.split("/")
    for place, part in enumerate(one.split("/")):
        if "{" not in part:
            filled.append([part])
            continue
        there = theirs[place] if place < len(theirs) else "x"
        values = ["7", "x"] if "{" in there else [there]
        bare = re.sub(r"{[^}]+}", "7", there)
        filled.append([re.sub(r"{[^}]+}", value, part) for value in values] + [bare])
    return ["/".join(parts) for parts in product(*filled)]


def test_gate_and_router_find_the_same_route_for_every_address_that_two_patterns_match() -> None:
    ours = [context for context in iter_route_contexts(routes().routes) if getattr(context, "methods", None)]
    order = [(method, str(one.path), one.path_regex) for one in ours for method in one.methods or ()]
    wrong = []
    for one in RULES:
        near = [
            r for r in RULES if r.method == one.method and r.path.split("/")[1:3] == one.path.split("/")[1:3]
        ]
        for address in {address for other in near for address in _samples(one.path, other.path)}:
            routed = next((p for m, p, regex in order if m == one.method and regex.match(address)), None)
            if routed is not None and rule(one.method, address).path != routed:
                wrong.append((address, routed, rule(one.method, address).path))
    assert wrong == []


def test_the_page_for_people_says_what_the_tables_say() -> None:
    page = (ROOT.parent / "docs" / "access.md").read_text(encoding="utf-8")
    drawn = page[page.index("<!-- drawn -->\n") + len("<!-- drawn -->\n") : page.index("<!-- end -->")]
    assert drawn == access_drawn.page(), (
        "put what python -m command_centre.api.access_drawn prints into docs/access.md"
    )


def test_the_screens_know_the_roles_of_the_table() -> None:
    from command_centre.api.access import ROLES

    source = (ROOT / "web/src/staff/roles.ts").read_text(encoding="utf-8")
    meets = source[source.index("const MEETS") : source.index("};")]
    for need, listed in re.findall(r"(\w+): \[([^\]]*)\]", meets):
        assert set(re.findall(r'"(\w+)"', listed)) == set(ROLES[need]), need
    words = (ROOT / "web/src/i18n/loop.catalogue.ts").read_text(encoding="utf-8")
    for role in get_args(Role):
        assert f'"role.{role}"' in words
