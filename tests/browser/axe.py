"""axe-core over a page: what it finds against WCAG 2.2 A and AA."""

from pathlib import Path

from playwright.sync_api import Page

_AXE = Path(__file__).parents[2] / "command_centre" / "web" / "node_modules" / "axe-core" / "axe.min.js"
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# Nothing is fetched for it, and what passes is not written out: half the work, and the same violations.
_RUN = """(tags) => axe.run({ runOnly: { type: "tag", values: tags }, preload: false, resultTypes: ["violations"] })
  .then((found) =>
    found.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).join("; ")}`))"""


def violations(page: Page) -> list[str]:
    """Rule and elements of each violation; empty = axe finds nothing."""
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(_AXE.read_text(encoding="utf-8"))
    found: list[str] = page.evaluate(_RUN, _TAGS)
    return found
