"""One table says who may call what; every route is in it, and it names no route that is not there."""

from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts

from command_centre.api.access import TABLE, needed
from command_centre.api.app import SILENT, routes
from command_centre.api.gate import STEP_UP
from command_centre.api.problem import Problem

WORDS = Path(__file__).parents[2] / "command_centre" / "web" / "src" / "i18n"
PUBLIC = {
    ("GET", "/"), ("GET", "/wall"), ("GET", "/desk"),
    ("GET", "/wall/{view}"), ("GET", "/desk/{place:path}"), ("GET", "/flood"), ("GET", "/flood/{place:path}"),
    ("GET", "/field"), ("GET", "/field/{place:path}"), ("GET", "/settings"), ("GET", "/field/sw.js"),
    ("GET", "/field/manifest.webmanifest"), ("GET", "/field/icons/{name}"),
    ("GET", "/settings/{place:path}"), ("GET", "/login"),

    ("GET", "/i/{sort}/{code:path}"), ("GET", "/api/scanned/{sort}/{code}"),
    ("GET", "/report"), ("GET", "/track"), ("GET", "/track/{tracking}"), ("GET", "/api/report-categories"),
    ("GET", "/assets/{path:path}"),
    ("GET", "/runbooks"), ("GET", "/runbooks/style.css"), ("GET", "/runbooks/{name}"),
    ("GET", "/cap/feed.atom"), ("GET", "/cap/{identifier}.xml"),
    ("GET", "/api/wall/map"), ("GET", "/api/stations"),
    ("GET", "/api/stations/{code}/hydrograph"), ("GET", "/healthz"), ("GET", "/readyz"),
    ("POST", "/api/screens/pair"), ("POST", "/api/screens/renew"),
    ("POST", "/api/session"), ("GET", "/api/session/ways"), ("GET", "/api/oidc/callback"),
    ("POST", "/api/intake/{system}"),
    ("GET", "/open311/v2/discovery.{form}"), ("GET", "/open311/v2/services.{form}"),
    ("GET", "/open311/v2/services/{code}.{form}"), ("POST", "/open311/v2/requests.{form}"),
    ("GET", "/open311/v2/requests.{form}"), ("GET", "/open311/v2/requests/{request_id}.{form}"),
    ("GET", "/open311/v2/tokens/{token}.{form}"),
}  # fmt: skip


ANYONE = {
    ("POST", "/api/reports"), ("GET", "/api/reports/{tracking}"), ("DELETE", "/api/reports/{tracking}/contact"),
    ("POST", "/api/reports/{tracking}/more"), ("POST", "/api/reports/{tracking}/rating"),
    ("POST", "/api/reports/{tracking}/reopen"), ("GET", "/api/oidc/start"),
}  # fmt: skip


def registered() -> set[tuple[str, str]]:
    found = set()
    for context in iter_route_contexts(routes().routes):
        for method in getattr(context, "methods", None) or ():
            found.add((method, str(context.path)))
    return {(method, path) for method, path in found if method != "HEAD"}


def test_every_route_has_a_rule_and_every_rule_a_route() -> None:
    assert registered() == set(TABLE)


def test_only_the_agreed_routes_are_public() -> None:
    assert {route for route, needs in TABLE.items() if needs == "public"} == PUBLIC
    assert {route for route, needs in TABLE.items() if needs == "anyone"} == ANYONE
    # Without a log-in only where the wall is open to the room.
    assert {path for (_, path), needs in TABLE.items() if needs == "wall"} == {
        path for _, path in TABLE if path.startswith("/api/wall/") and path != "/api/wall/map"
    }


def test_nothing_is_measured_for_anybody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    measured = routes()._telemetry  # the framework has no other way to ask
    assert {key: measured[key] for key in SILENT} == dict.fromkeys(SILENT, False)
    assert {key for key, value in measured.items() if value} == set()


def test_an_unknown_path_is_nobodys() -> None:
    with pytest.raises(Problem) as caught:
        needed("GET", "/api/secrets")
    assert caught.value.status == 404


def test_an_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(Problem) as caught:
        needed("PUT", "/api/incidents")
    assert caught.value.status == 405
    assert caught.value.headers["Allow"] == "GET, POST"


def test_head_is_judged_as_get() -> None:
    assert needed("HEAD", "/api/users") == "administrator"


@pytest.mark.parametrize("path", ["/api/incidents/1/acknowledge/", "//api/users", "/api/users/../session"])
def test_no_odd_spelling_opens_a_door(path: str) -> None:
    with pytest.raises(Problem):
        needed("DELETE", path)


def test_every_noun_of_the_api_has_words_for_the_table_of_roles() -> None:
    words = (WORDS / "settings_people.catalogue.ts").read_text(encoding="utf-8")
    tags = {
        tag for context in iter_route_contexts(routes().routes) for tag in getattr(context.route, "tags", ())
    }
    assert {tag for tag in tags if f'"noun.{tag}"' not in words} == set()


def test_what_asks_again_who_it_is_is_there() -> None:
    assert set(STEP_UP) <= set(TABLE)
