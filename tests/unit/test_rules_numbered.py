"""Numbers instead of ids: the same alarms, states and windows, in columns as long as the devices that are known."""

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from city.observations import Quality
from rules.definitions import Rule
from rules.engine import DeviceFacts, Engine
from rules.listening import Listening
from rules.numbered import NumberedEngine
from rules.numbers import NOBODY, Numbers
from tests.unit.rules_feed import METRICS, SMOKE, Desk, Row, at, batch, detection, facts, rule, threshold

# As ids of a district of hundreds of thousands whose neighbours are another worker's; not in order of their coming.
IDS = (7_001, 12, 3_333, 500, 6_999)
CAMERA, GATEWAY, ELSEWHERE = 4_100, 9_000, 9_001  # the last is another worker's: its id is all that is known
SEEN = {
    "type": "detection",
    "name": "人",
    "name_en": "Person",
    "kind": "camera",
    "labels": ["person"],
    "clear_after_s": 8,
    "category": "public.person",
    "level": "blue",
}
RISING = {
    "type": "rate",
    "name": "测试",
    "name_en": "Test",
    "metric": "smoke",
    "kind": "smoke",
    "category": "flood.rising",
    "level": "yellow",
    "raise_at": 60,
    "per": "minute",
    "window_s": 60,
    "min_samples": 3,
    "noise": 5,
    "deadband": 20,
}
SILENT = {
    "type": "silence",
    "name": "测试",
    "name_en": "Test",
    "factor": 3,
    "min_s": 60,
    "gateway_share": 0.6,
    "category": "device.silent",
    "level": "yellow",
}
RULES: tuple[Rule, ...] = (
    threshold("at-once", clear_at=60),
    threshold("on-delay", clear_at=60, on_delay_s=7, off_delay_s=5),
    rule("seen", SEEN),
    rule("rising", RISING),
    rule("silent", SILENT),
)


def known() -> list[DeviceFacts]:
    behind = [replace(facts(one, interval=20), gateway_id=GATEWAY, code=f"d{one}") for one in IDS]
    alone = replace(facts(CAMERA, "camera", interval=60), gateway_id=ELSEWHERE, code="c")
    return [*behind, alone, facts(GATEWAY, "gateway", interval=60)]


class NumberedDesk(Desk):
    """One whose engines know these devices by numbers; of a restart only the numbers stay."""

    def __init__(self, rules: Sequence[Rule], devices: Sequence[DeviceFacts]) -> None:
        self.numbers = Numbers()
        super().__init__(rules, devices)

    def new_engine(self) -> Engine:
        return NumberedEngine(self.rules, METRICS, numbers=self.numbers)

    def heard(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        number, heard = super().heard()
        return self.numbers.ids[number], heard


def live(desk: Desk, seed: int) -> Desk:
    """Seven minutes of five detectors and a camera, with a restart, and then silence."""
    dice = random.Random(seed)
    for step in range(40):
        if step == 20:
            desk.restart()
        t = step * 10.0
        rows = [
            Row(one, t + place, dice.choice([10.0, 45.0, 65.0, 72.0, 90.0]), SMOKE, received=t + 8)
            for place, one in enumerate(IDS)
            if dice.random() < 0.7
        ]
        dice.shuffle(rows)
        seen = [detection(CAMERA, t + 3, "person", received=t + 4)] if dice.random() < 0.3 else []
        if rows or seen:
            desk.read(*rows, seen=seen)
        if step % 3 == 0:
            desk.tick(t + 9, Listening([(at(0), at(t + 9))]))
    desk.tick(900, Listening([(at(0), at(900))]))
    return desk


def heard(desk: Desk) -> dict[int, int]:
    ids, instants = desk.heard()
    return dict(zip(ids.tolist(), instants.tolist(), strict=True))


@pytest.mark.parametrize("seed", [1, 2])
def test_numbers_change_no_alarm_no_state_and_no_mark(seed: int) -> None:
    plain, numbered = live(Desk(RULES, known()), seed), live(NumberedDesk(RULES, known()), seed)
    assert {rule_id for rule_id, _, _ in plain.alarms.history()} == {one.rule_id for one in RULES}
    assert {device for _, device, _ in plain.alarms.history()} >= {*IDS, CAMERA, GATEWAY}
    assert numbered.alarms.history() == plain.alarms.history()
    assert numbered.standing_states() == plain.standing_states()
    assert numbered.stored == plain.stored
    assert heard(numbered) == heard(plain) != {}


def test_columns_are_as_long_as_what_is_known() -> None:
    assert len(Desk(RULES, known()).engine.heard_us) > GATEWAY
    assert len(NumberedDesk(RULES, known()).engine.heard_us) == 1024  # the least that is made room for


def test_who_was_never_made_known_is_refused() -> None:
    desk = NumberedDesk(RULES, known())
    with pytest.raises(ValueError, match="device id 13 was never made known"):
        desk.engine.judge(batch([Row(13, 0, 50.0)]))
    with pytest.raises(ValueError, match="device id 13 was never made known"):
        desk.engine.decide(batch([]), [detection(13, 0)], now_us=at(1))
    desk.engine.heard(np.array([13], dtype=np.int32), np.array([at(1)]))
    desk.engine.recall(np.array([13], np.int32), np.array([SMOKE], np.int16), np.array([at(1)]))
    assert not desk.engine.heard_us.any()


def test_a_device_that_went_elsewhere_is_unknown_to_the_next_engine() -> None:
    desk = NumberedDesk(RULES, [facts(one) for one in range(1, 1_500)])
    desk.devices = [facts(1)]
    desk.restart()
    with pytest.raises(ValueError, match="never made known"):
        desk.read(Row(1_499, 0, 50.0))
    assert desk.read(Row(1, 0, 90.0, quality=Quality.GOOD)) != []


def test_a_number_stays_and_none_is_given_twice() -> None:
    numbers = Numbers()
    assert numbers.of(np.array([5, 0])).tolist() == [NOBODY, NOBODY]
    numbers.give(np.array([900, 5, 5, 0, 70]))
    first = numbers.of(np.array([5, 70, 900]))
    numbers.give(np.array([6, 900, 1_000_000_000]))
    assert numbers.of(np.array([5, 70, 900])).tolist() == first.tolist()
    every = numbers.of(np.array([5, 6, 70, 900, 1_000_000_000, 7, 2_000_000_000]))
    assert sorted(every.tolist()) == [NOBODY, NOBODY, 1, 2, 3, 4, 5]
    assert numbers.ids[every].tolist() == [5, 6, 70, 900, 1_000_000_000, 0, 0]
    assert len(numbers) == 6
