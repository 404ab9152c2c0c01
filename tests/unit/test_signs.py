"""What sirens and signs are told, as messages: the same state is the same bytes, and nothing stays that is over."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from city.settings import Settings
from command_centre import signs

ROW: dict[str, Any] = {
    "cell": "C1", "cell_name": "一号网格", "cell_name_en": "Cell 1", "category": "fire.smoke",
    "category_name": "烟雾报警", "category_name_en": "Smoke alarm", "class": "A", "level": "red", "exercise": False,
    "alarms": 2, "since": datetime(2026, 5, 1, tzinfo=UTC),
}  # fmt: skip


def test_a_cells_message_says_what_stands_in_both_languages() -> None:
    topic, message = signs.alarm("out", ROW)
    assert topic == "out/alarms/C1"
    assert json.loads(message) == {
        "v": 1, "cell": "C1", "alarms": 2, "class": "A", "level": "red", "category": "fire.smoke",
        "since": "2026-05-01T00:00:00Z", "exercise": False, "text": "一号网格：烟雾报警",
        "text_en": "Cell 1: Smoke alarm",
    }  # fmt: skip
    assert signs.alarm("out", dict(ROW)) == (topic, message)


def test_an_exercise_is_marked_in_its_words_too() -> None:
    said = json.loads(signs.alarm("out", {**ROW, "exercise": True})[1])
    assert (said["exercise"], said["text"][:4], said["text_en"][:8]) == (True, "【演练】", "EXERCISE")
    row = {
        "station": "W1",
        "station_name": "",
        "level": "orange",
        "class": "B",
        "since": ROW["since"],
        "exercise": True,
    }
    topic, message = signs.level("out", row)
    assert (topic, json.loads(message)["text"]) == ("out/levels/W1", "【演练】W1：水位橙色报警")


def test_a_code_cannot_leave_its_level_of_the_topic() -> None:
    topic = signs.topic("out", "alarms", "a/+#%\n一")
    assert topic == "out/alarms/a%2F%2B%23%25%0A一"
    assert signs.ours("out", topic)
    assert json.loads(signs.clear("out", topic))["cell"] == "a/+#%\n一"


def test_only_what_differs_is_said() -> None:
    one, other = signs.alarm("out", ROW), signs.alarm("out", {**ROW, "cell": "C2"})
    wanted = dict([one, other])
    assert signs.to_say("out", wanted, {}, {}) == wanted
    assert signs.to_say("out", wanted, dict([one]), dict([other])) == {}
    over = signs.to_say("out", {}, wanted, {})
    assert {of: json.loads(said)["alarms"] for of, said in over.items()} == {one[0]: 0, other[0]: 0}
    assert signs.to_say("out", {}, over, {}) == {}
    assert signs.to_say("out", dict([one]), over, {}) == dict([one])
    # What is being said is out of date: the new message follows once it is acknowledged.
    assert signs.to_say("out", {}, {}, {}) == {}
    assert signs.to_say("out", dict([one]), dict([one]), {one[0]: b"old"}) == dict([one])


@pytest.mark.parametrize(
    "topic", ["out/alarms", "out/alarms/C1/x", "out/other/C1", "outer/alarms/C1", "city/alarms/C1"]
)
def test_other_topics_are_left_alone(topic: str) -> None:
    assert not signs.ours("out", topic)


@pytest.mark.parametrize("topic", ["city", "city/out", "out/#", "+/out", "/out", "out/", "$SYS/out", "a//b"])
def test_a_topic_that_ingest_would_hear_is_refused(topic: str) -> None:
    with pytest.raises(ValueError, match="must be a topic such as out"):
        Settings(alarm_topic=topic, _env_file=None)
    assert Settings(alarm_topic="district/out", _env_file=None).alarm_topic == "district/out"
