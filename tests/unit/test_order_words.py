"""What an order says, and that nobody takes an exercise for the real thing."""

from command_centre.notify import message

BODY = {
    "number": "20261121-0001",
    "purpose": "order",
    "class": "A",
    "category_name": "烟雾报警",
    "category_name_en": "Smoke alarm",
    "exercise": False,
}


def test_an_exercise_says_so_in_subject_and_text_in_both_languages() -> None:
    body = {**BODY, "exercise": True}
    assert message.subject(body).startswith("【演练】[EXERCISE] [A] 派遣")
    first = message.text(body, "http://desk").splitlines()[0]
    assert "【演练】" in first
    assert "[EXERCISE]" in first


def test_the_real_thing_does_not() -> None:
    for words in (message.subject(BODY), message.text(BODY, "http://desk")):
        assert "演练" not in words
        assert "EXERCISE" not in words
