"""Every message exists in both languages and names what it is filled with; none goes out half filled."""

import string
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

from city.contacts import PURPOSES
from city.incidents import Ask, State
from command_centre.notify import message, templates
from command_centre.notify.templates import TemplateError

TABLES = tomllib.loads((Path(__file__).parents[2] / "city/defaults/notices.toml").read_text(encoding="utf-8"))
BODY: dict[str, Any] = {
    "number": "20261121-0001", "class": "B", "category_name": "井盖缺失", "category_name_en": "Missing cover",
    "street": "东街", "cell": "c02", "due_at": "2026-11-21T13:00:00+08:00", "reason": "职责清单",
    "reason_en": "by the list", "unit": "u1", "unit_name": "市政所", "exercise": False,
}  # fmt: skip


def is_chinese(text: str) -> bool:
    return any("一" <= letter <= "鿿" for letter in text)


@pytest.mark.parametrize("name", sorted(TABLES["notice"]))
def test_a_notice_is_in_both_languages_with_all_its_parameters(name: str) -> None:
    notice = TABLES["notice"][name]
    for language in ("zh", "en"):
        assert set(notice[language]) == {"subject", "text"}
        used = {
            field
            for text in notice[language].values()
            for _, field, _, _ in string.Formatter().parse(text)
            if field
        }
        assert used == set(notice["params"])
        assert is_chinese("".join(notice[language].values())) == (language == "zh")
    params = {param: f"<{param}>" for param in notice["params"]}
    subject, text = templates.notice(name, params, "both")
    assert "{" not in subject + text
    assert all(f"<{param}>" in subject + text for param in params)


@pytest.mark.parametrize("table", ["purpose", "ask", "asked"])
def test_words_are_in_both_languages(table: str) -> None:
    for words in TABLES[table].values():
        assert is_chinese(words["zh"])
        assert words["en"]
        assert not is_chinese(words["en"])


def test_nothing_that_can_happen_is_without_words() -> None:
    assert set(TABLES["notice"]) >= set(get_args(State)) | {"received", "reopened"}
    assert set(TABLES["purpose"]) >= set(PURPOSES) | {"digest", "test"}
    assert set(TABLES["ask"]) == set(get_args(Ask))


def test_a_notice_that_lacks_a_parameter_or_does_not_exist_is_refused() -> None:
    with pytest.raises(TemplateError, match="lacks link"):
        templates.notice("archived", {"tracking": "T1"}, "zh")
    with pytest.raises(TemplateError, match="use received"):
        templates.notice("nothing", {}, "zh")


@pytest.mark.parametrize("purpose", [*PURPOSES, "test"])
def test_one_language_holds_no_word_of_the_other(purpose: str) -> None:
    body = {
        **BODY, "purpose": purpose, "category_name": "manhole", "street": "E", "unit_name": "U", "reason": "list",
        "requests": [{"ask": "extend", "state": "open", "limit": "3wd", "unit": "u1", "to_unit": None}],
    }  # fmt: skip
    english = message.subject(body, "en") + message.text(body, "http://desk", "en")
    assert not is_chinese(english)
    assert templates.word("purpose", purpose)[1] in english
    assert templates.word("purpose", purpose)[0] in message.subject(BODY | {"purpose": purpose}, "zh")


def test_a_digest_is_readable_in_each_language() -> None:
    body = {
        "purpose": "digest",
        "count": 12,
        "items": [{**BODY, "purpose": "remind", "incident": 1}],
        "exercise": False,
    }
    english = message.text(body, "http://desk", "en")
    assert "Digest of 12 messages" in english
    assert "[B] 20261121-0001 Reminder: due soon Missing cover" in english
    assert "due: 2026-11-21T13:00:00+08:00" in english
    assert "汇总：12 条消息" in message.text(body, "http://desk", "zh")
    assert message.subject(body, "zh") == "汇总 12 条"


def test_what_was_asked_is_said() -> None:
    asked = {"ask": "transfer", "state": "open", "limit": "", "unit": "u1", "to_unit": "u2"}
    text = message.text({**BODY, "purpose": "asked", "requests": [asked]}, "http://desk")
    assert "申请 / Asked: 转办 transfer, u1 → u2, 待审批 waits" in text
