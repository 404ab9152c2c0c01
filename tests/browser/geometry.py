"""What a person would call broken at a glance, asked of a page: cut text, text under text, text too small."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from playwright.sync_api import Page

Fault = TypeVar("Fault")


def settled(look: Callable[[Page], list[Fault]], page: Page) -> list[Fault]:
    """What ``look`` still finds once the page has had time: rows are measured a frame after they are laid out."""
    found = look(page)
    for _ in range(240):
        if not found:
            break
        page.wait_for_timeout(250)
        found = look(page)
    return found


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
() => [...document.querySelectorAll(
  ".wall > header, .wall main .panels > div, .wall main > div:not(.panels)")].map((panel) => {
  const box = panel.getBoundingClientRect();
  return { name: panel.className, box: [box.left, box.top, box.right, box.bottom] };
})
"""

# WCAG 2.2: 4.5 to 1; 3 to 1 for letters of 24 px, or of 18.66 px and bold, at 1920 x 1080.
_LOW_CONTRASTS = """
(rem) => {
  const parsed = (text) => text.match(/[\\d.]+/g)?.map(Number) ?? [0, 0, 0, 0];
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ratio = (a, b) => { const [hi, lo] = [light(a), light(b)].sort((x, y) => y - x);
    return (hi + 0.05) / (lo + 0.05); };
  const behind = (element) => {
    if (element instanceof SVGElement) {
      const shape = element.closest("svg").querySelector("polygon");
      if (shape && getComputedStyle(shape).fill !== "none") return parsed(getComputedStyle(shape).fill);
    }
    for (let up = element; up; up = up.parentElement) {
      const colour = parsed(getComputedStyle(up).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const low = [];
  const walker = document.createTreeWalker(document.querySelector(".wall, .staff, .public, .field"),
    NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const style = getComputedStyle(element);
    if (!walker.currentNode.textContent.trim() || style.visibility === "hidden") continue;
    const size = parseFloat(style.fontSize) / rem * 16;
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const found = ratio(parsed(element instanceof SVGElement ? style.fill : style.color), behind(element));
    const sign = /^[▲◆■●✕ ]+$/.test(walker.currentNode.textContent.trim()); // a graphic, which words repeat
    if (found < (large || sign ? 3 : 4.5)) low.push(`${walker.currentNode.textContent.trim()} ${found.toFixed(2)}`);
  }
  return [...new Set(low)];
}
"""

Box = list[float]


def texts(page: Page) -> list[dict[str, Any]]:
    # As one text: objects are taken apart and put together field by field, which costs more than the look.
    found: list[dict[str, Any]] = json.loads(page.evaluate(f"() => JSON.stringify(({_TEXTS})())"))
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


def low_contrasts(page: Page) -> list[str]:
    """Texts that stand out too little from what is behind them, with their contrast."""
    rem = page.evaluate("parseFloat(getComputedStyle(document.documentElement).fontSize)")
    found: list[str] = page.evaluate(_LOW_CONTRASTS, rem)
    return found


def drawn(page: Page) -> list[dict[str, Any]]:
    """Texts on canvases: text, size, left, right, y, and the canvas's width and height, in its pixels."""
    found: list[dict[str, Any]] = json.loads(page.evaluate("() => JSON.stringify(window.drawnNow())"))
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
