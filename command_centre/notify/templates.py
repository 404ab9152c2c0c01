"""The words of messages, read once from city/defaults/notices.toml."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from city.contacts import Language


class TemplateError(ValueError):
    """No such template, or a parameter it needs is missing: a mistake of ours, not of the receiver."""


@cache
def _tables() -> Mapping[str, Any]:
    text = (resources.files("city") / "defaults" / "notices.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def names() -> tuple[str, ...]:
    """The notices there are."""
    return tuple(_tables()["notice"])


def word(table: str, key: str) -> tuple[str, str]:
    """(Chinese, English) of a purpose, an ask or how an ask ended; what is unknown stands for itself."""
    found = _tables()[table].get(key)
    return (found["zh"], found["en"]) if found else (key, key)


def notice(template: str, params: Mapping[str, object], language: Language) -> tuple[str, str]:
    """Subject and text of a notice to a citizen; raises TemplateError."""
    found = _tables()["notice"].get(template)
    if found is None:
        raise TemplateError(f"there is no notice {template!r}; use {', '.join(names())}")
    missing = [name for name in found["params"] if not params.get(name)]
    if missing:
        raise TemplateError(f"notice {template!r} lacks {', '.join(missing)}")
    given = {name: str(params[name]) for name in found["params"]}
    languages = ("zh", "en") if language == "both" else (language,)
    subjects = [found[one]["subject"].format(**given) for one in languages]
    texts = [found[one]["text"].format(**given) for one in languages]
    return " / ".join(subjects), "\n".join(texts) + "\n"
