"""Pages of docs/runbooks as HTML, in both languages. Pure: texts in, a page out.

They are written in a small part of Markdown, which is all that is read here: headings, paragraphs, two sorts of lists,
tables, and within a line `code`, *words of a screen* and links to each other.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Literal

Language = Literal["zh", "en"]

# Which page says what to do about a system's own alarm, by the category of its incident.
OF_CATEGORY: Mapping[str, str] = {
    "system.backup": "BackupOld",
    "system.certificate": "CertificateEnds",
    "system.disk": "DiskFull",
    "system.ingest": "IngestDown",
}
_WORDS: Mapping[Language, Mapping[str, str]] = {
    "zh": {"lang": "zh-CN", "all": "处置手册", "other": "English", "health": "系统状况", "desk": "值班台"},
    "en": {"lang": "en", "all": "Runbooks", "other": "中文", "health": "System health", "desk": "Duty desk"},
}
_MARKED = re.compile(r"`(?P<code>[^`]+)`|\[(?P<said>[^\]]+)\]\((?P<to>\w+)\.md\)|\*(?P<word>[^*`]+)\*")
_ITEM = re.compile(r"(?P<sign>-|\d+\.) (?P<text>.*)", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """What stands between two empty lines; items of a list are blocks of their own."""

    sort: Literal["h1", "h2", "p", "ul", "ol"]
    text: str


def blocks(markdown: str) -> Iterator[Block]:
    """The page's parts in their order, lines that belong together joined."""
    for part in re.split(r"\n\s*\n", markdown.strip()):
        if part.startswith("## "):
            yield Block(sort="h2", text=part[3:])
        elif part.startswith("# "):
            yield Block(sort="h1", text=part[2:])
        elif _ITEM.match(part):
            for item in re.split(r"\n(?=- |\d+\. )", part):
                found = _ITEM.fullmatch(item)
                assert found is not None  # noqa: S101  # the split is at what it matches
                yield Block(sort="ul" if found["sign"] == "-" else "ol", text=_joined(found["text"]))
        else:
            yield Block(sort="p", text=_joined(part))


def title(markdown: str) -> str:
    """The words of the heading behind the page's name."""
    return re.split("[:：]", markdown.partition("\n")[0].removeprefix("# "), maxsplit=1)[-1].strip()


def page(name: str, markdown: str, language: Language) -> str:
    """The whole HTML of one page."""
    body: list[str] = []
    open_list = ""
    for block in blocks(markdown):
        wanted = block.sort if block.sort in ("ul", "ol") else ""
        if wanted != open_list:
            body.append(f"</{open_list}>" if open_list else "")
            body.append(f"<{wanted}>" if wanted else "")
            open_list = wanted
        tag = "li" if wanted else block.sort
        text = title(f"# {block.text}") if block.sort == "h1" else block.text
        body.append(f"<{tag}>{_within(text, language)}</{tag}>")
    body.append(f"</{open_list}>" if open_list else "")
    return _framed(name, title(markdown), "".join(body), language)


def index(titles: Mapping[str, str], language: Language) -> str:
    """The list of all pages, by their titles."""
    rows = "".join(
        f'<li><a href="/runbooks/{name}?lang={language}">{escape(said)}</a> <code>{name}</code></li>'
        for name, said in sorted(titles.items())
    )
    words = _WORDS[language]
    return _framed("", words["all"], f"<h1>{words['all']}</h1><ul>{rows}</ul>", language)


def _joined(text: str) -> str:
    # A line is broken between Chinese characters too, where a space would be seen.
    return re.sub(
        r"(?<=[^\x00-\x7f])\s*\n\s*(?=[^\x00-\x7f])|\s*\n\s*", lambda at: "" if _han(at) else " ", text
    )


def _han(at: re.Match[str]) -> bool:
    return (
        at.start() > 0 and at.string[at.start() - 1] > "\x7f" and at.string[at.end() : at.end() + 1] > "\x7f"
    )


def _within(text: str, language: Language) -> str:
    said: list[str] = []
    done = 0
    for found in _MARKED.finditer(text):
        said.append(escape(text[done : found.start()]))
        if found["code"]:
            said.append(f"<code>{escape(found['code'])}</code>")
        elif found["to"]:
            said.append(f'<a href="/runbooks/{found["to"]}?lang={language}">{escape(found["said"])}</a>')
        else:
            said.append(f"<em>{escape(found['word'])}</em>")
        done = found.end()
    return "".join([*said, escape(text[done:])])


def _framed(name: str, heading: str, body: str, language: Language) -> str:
    words = _WORDS[language]
    other: Language = "en" if language == "zh" else "zh"
    here = f"/runbooks/{name}" if name else "/runbooks"
    return "".join(
        (
            f'<!doctype html><html lang="{words["lang"]}"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(heading)} · {words['all']}</title>",
            '<link rel="stylesheet" href="/runbooks/style.css"></head><body><header><nav>',
            f'<a href="/runbooks?lang={language}">{words["all"]}</a>',
            f'<a href="/settings/health?lang={language}">{words["health"]}</a>',
            f'<a href="/desk?lang={language}">{words["desk"]}</a>',
            f'<a href="{here}?lang={other}" lang="{_WORDS[other]["lang"]}">{words["other"]}</a>',
            f"</nav></header><main>{body}</main></body></html>",
        )
    )
