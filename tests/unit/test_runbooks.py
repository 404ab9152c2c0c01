"""Every alert has a page that says what to do, a test of its own, and a place in the list; and no page is left over."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from command_centre import runbook_pages
from command_centre.api import runbooks
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
HEADINGS_ZH = ("含义", "如何发现", "先看什么", "如何处理", "不要做", "恢复标志")
OWN = {"CertificateEnds"}  # raised by the centre itself, and no alert


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
    assert pages == {alert["alert"] for alert in ALERTS} | OWN
    assert {path.stem for path in PAGES.glob("zh/*.md")} == pages
    for path in PAGES.rglob("*.md"):
        for target in re.findall(r"\]\(([\w.-]+\.md)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).is_file(), f"{path.name}: {target}"


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


@pytest.mark.parametrize("name", sorted({alert["alert"] for alert in ALERTS} | OWN))
def test_a_page_says_the_same_in_chinese(name: str) -> None:
    english = list(runbook_pages.blocks((PAGES / f"{name}.md").read_text(encoding="utf-8")))
    chinese = list(runbook_pages.blocks((PAGES / "zh" / f"{name}.md").read_text(encoding="utf-8")))
    assert [one.text for one in chinese if one.sort == "h2"] == list(HEADINGS_ZH)
    for sort in ("ul", "ol"):
        assert sum(one.sort == sort for one in chinese) == sum(one.sort == sort for one in english), sort
    assert re.search("[一-鿿]", runbook_pages.title(chinese[0].text))
    severity = next((one["labels"]["severity"] for one in ALERTS if one["alert"] == name), "ticket")
    assert chinese[1].text.startswith({"page": "立即处理", "ticket": "上班后处理"}[severity])


def test_a_page_is_drawn_with_lists_links_and_nothing_unescaped() -> None:
    html = runbook_pages.page(
        "X", "# X：磁盘<满>\n\n先看\n[这里](DiskFull.md)\n\n- `a < b`\n- *词*\n  续\n\n1. 一\n\n完", "zh"
    )
    assert "<h1>磁盘&lt;满&gt;</h1>" in html
    assert '<p>先看 <a href="/runbooks/DiskFull?lang=zh">这里</a></p>' in html
    assert (
        "<ul><li><code>a &lt; b</code></li><li><em>词</em> 续</li></ul><ol><li>一</li></ol><p>完</p>" in html
    )
    assert '<a href="/runbooks/X?lang=en" lang="en">English</a>' in html


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_page_can_be_drawn_and_leaves_no_mark_of_its_writing(language: runbook_pages.Language) -> None:
    texts = runbooks.texts(language)
    assert set(texts) == {path.stem for path in PAGES.glob("zh/*.md")}
    for name, text in texts.items():
        html = re.sub("<code>.*?</code>", "", runbook_pages.page(name, text, language))
        assert not re.search(r"`|\]\(|\*\w|##", html), name


def test_the_systems_own_incidents_lead_to_a_page() -> None:
    screens = (ROOT / "command_centre/web/src/screen/runbooks.ts").read_text(encoding="utf-8")
    told = dict(re.findall(r'"(system\.\w+)": "(\w+)"', screens))
    assert told == dict(runbook_pages.OF_CATEGORY)
    named = set(
        re.findall(r'"([A-Z]\w+)"\)', (ROOT / "command_centre/web/src/wall/HealthLine.svelte").read_text())
    )
    assert named | set(told.values()) <= {path.stem for path in PAGES.glob("*.md")}
