"""What a person would call broken at a glance, asked of a page: cut text, text under text, text too small."""

from typing import Any

from playwright.sync_api import Page

# Every piece of text with its box on the screen, its real size, and the box that its ancestors leave of it.
_TEXTS = """
() => {
  const found = [];
  let node_number = 0;
  const walker = document.createTreeWalker(
    document.querySelector(".wall, .staff, .public, .field"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const parent = node.parentElement;
    if (!node.textContent.trim() || getComputedStyle(parent).visibility === "hidden") continue;
    if (parent.tagName === "OPTION") continue;
    node_number += 1;
    const range = document.createRange();
    range.selectNodeContents(node);
    let [left, top, right, bottom] = [-1, -1, innerWidth + 1, document.documentElement.scrollHeight + 1];
    let [scrolled, shortened] = [false, false];
    for (let up = parent; up; up = up.parentElement) {
      const style = getComputedStyle(up);
      shortened ||= style.textOverflow === "ellipsis" || style.webkitLineClamp !== "none";
      if (style.overflowX === "visible" && style.overflowY === "visible") continue;
      if (up instanceof SVGElement) continue;
      const box = up.getBoundingClientRect();
      scrolled ||= style.overflowX === "auto" || style.overflowY === "auto"; // what scrolls is not cut
      [left, top] = [Math.max(left, box.left), Math.max(top, box.top)];
      [right, bottom] = [Math.min(right, box.right), Math.min(bottom, box.bottom)];
    }
    const scale = parent instanceof SVGElement ? parent.getScreenCTM().a : 1;
    const size = parseFloat(getComputedStyle(parent).fontSize) * scale;
    for (const box of range.getClientRects()) {
      if (box.width < 1) continue;
      // A line box is taller than its letters: a hair of it may be cut without cutting a letter.
      const slack = box.height * 0.12;
      const cut = !scrolled && (box.left < left - 1 || box.right > right + 1
        || box.top < top - slack || box.bottom > bottom + slack);
      found.push({ text: node.textContent.trim(), size, cut, shortened, node: node_number,
        svg: parent instanceof SVGElement,
        hidden: box.top > bottom - slack || box.bottom < top + slack || box.left > right || box.right < left,
        box: [Math.max(box.left, left), Math.max(box.top, top),
          Math.min(box.right, right), Math.min(box.bottom, bottom)] });
    }
  }
  return found;
}
"""
_PANELS = """
() => [...document.querySelectorAll(".wall > header, .wall main > div")].map((panel) => {
  const box = panel.getBoundingClientRect();
  return { name: panel.className, box: [box.left, box.top, box.right, box.bottom] };
})
"""

Box = list[float]


def texts(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate(_TEXTS)
    return found


def cut_texts(page: Page, *, shortened: bool = True) -> list[str]:
    """Texts that are not seen whole; with ``shortened`` False those that end in an ellipsis do not count."""
    return [item["text"] for item in texts(page) if item["cut"] and (shortened or not item["shortened"])]


def small_texts(page: Page, least_px: float) -> list[str]:
    """Texts of the page and of its canvases that are smaller than ``least_px``."""
    small = [f"{item['text']} {item['size']:.1f}" for item in texts(page) if item["size"] < least_px - 0.05]
    return small + [
        f"{item['text']} {item['size']:.1f}" for item in drawn(page) if item["size"] < least_px - 0.05
    ]


def drawn(page: Page) -> list[dict[str, Any]]:
    """Texts on canvases: text, size, left, right, y, and the canvas's width and height, in its pixels."""
    found: list[dict[str, Any]] = page.evaluate("() => window.drawn")
    return found


def cut_drawings(page: Page) -> list[str]:
    return [
        item["text"]
        for item in drawn(page)
        if item["left"] < -0.5 or item["right"] > item["width"] + 0.5 or not 0 <= item["y"] <= item["height"]
    ]


def overlapping_texts(page: Page) -> list[tuple[str, str]]:
    """Pairs of texts whose letters cover each other; a line's own leading does not count."""
    plain = [item for item in texts(page) if not item["svg"] and not item["hidden"]]
    return [
        (one["text"], other["text"])
        for number, one in enumerate(plain)
        for other in plain[number + 1 :]
        if one["node"] != other["node"]  # an ellipsis makes a line of one text be reported twice
        and overlap(_letters(one["box"]), _letters(other["box"]))
    ]


def overlapping_panels(page: Page) -> list[tuple[str, str]]:
    panels = page.evaluate(_PANELS)
    return [
        (one["name"], other["name"])
        for number, one in enumerate(panels)
        for other in panels[number + 1 :]
        if overlap(one["box"], other["box"])
    ]


def panels_outside(page: Page) -> list[str]:
    size = page.viewport_size
    assert size is not None
    return [
        panel["name"]
        for panel in page.evaluate(_PANELS)
        if min(panel["box"]) < 0
        or panel["box"][2] > size["width"] + 1
        or panel["box"][3] > size["height"] + 1
    ]


def overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] - 1 and other[0] < one[2] - 1 and one[1] < other[3] - 1 and other[1] < one[3] - 1


def _letters(box: Box) -> Box:
    shrink = (box[3] - box[1]) * 0.2
    return [box[0], box[1] + shrink, box[2], box[3] - shrink]
