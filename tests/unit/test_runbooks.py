"""Every alert has a page that says what to do, a test of its own, and a place in the list; and no page is left over."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from command_centre.health_checks import RUNBOOKS

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus"
PAGES = ROOT / "docs/runbooks"
HEADINGS = (
    "## What it means",
    "## How it is seen",
    "## First look",
    "## What to do",
    "## What not to do",
    "## When it is over",
)


def rules(file: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((RULES / file).read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = rules("alerts.rules.yml")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_an_alert_has_a_page_words_and_a_test(alert: dict[str, Any]) -> None:
    name = alert["alert"]
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert [heading for heading in HEADINGS if heading not in page] == []
    assert alert["expr"] in page
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
    assert alert["annotations"]["summary"]
    assert re.search("[一-鿿]", alert["annotations"]["summary_zh"])
    tests = [
        one["name"]
        for one in yaml.safe_load((RULES / "alerts.test.yml").read_text(encoding="utf-8"))["tests"]
    ]
    assert f"{name} fires" in tests
    assert f"{name} is quiet" in tests
    assert f"({name}.md)" in (PAGES / "README.md").read_text(encoding="utf-8")


def test_no_page_is_left_over_and_links_lead_somewhere() -> None:
    pages = {path.stem for path in PAGES.glob("*.md")} - {"README"}
    assert pages == {alert["alert"] for alert in ALERTS}
    for path in PAGES.glob("*.md"):
        for target in re.findall(r"\]\(([\w.-]+\.md)\)", path.read_text(encoding="utf-8")):
            assert (PAGES / target).is_file(), f"{path.name}: {target}"


def test_a_check_of_the_health_page_leads_to_a_page_that_is_there() -> None:
    checks = (ROOT / "command_centre/health_checks.py").read_text(encoding="utf-8")
    for check, page in RUNBOOKS.items():
        assert (PAGES / f"{page}.md").is_file()
        assert re.search(rf'(check=|_waiting\(\s*)"{check}"', checks), check


def test_inhibitions_name_alerts_that_are_there() -> None:
    known = {alert["alert"] for alert in ALERTS}
    told = yaml.safe_load((RULES / "alertmanager.yml").read_text(encoding="utf-8"))
    for rule in told["inhibit_rules"]:
        for matcher in [*rule["source_matchers"], *rule["target_matchers"]]:
            named = set(matcher.partition('"')[2].rstrip('"').split("|"))
            assert named <= known, matcher


def test_panels_are_apart_and_ask_for_something() -> None:
    board = json.loads((ROOT / "deploy/grafana/dashboards/operations.json").read_text(encoding="utf-8"))
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places)
    assert all(target["expr"] for panel in board["panels"] for target in panel["targets"])
