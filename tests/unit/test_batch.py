"""A micro-batch taken apart: quality, refusals, and good messages beside bad ones."""

import numpy as np

from city.observations import NO_SEQ, Quality, Rejection
from ingest.batch import Batch, Messages, build, decode, unknown_metrics
from ingest.decoders.native import Rejected
from ingest.register import Sender
from ingest.senders import Measured

NOW = 1_763_750_400_000_000
METRICS = {"smoke": 1, "battery": 2}
SMOKE = Sender(7, 1, False)
CAMERA = Sender(8, 0, False)
STATUS = Sender(7, 1, True)


def _batch(
    *items: tuple[Sender | Rejected, bytes],
    retained: set[int] | None = None,
    cut: dict[int, int] | None = None,
    topic: bytes = b"t",
) -> Batch:
    messages = Messages(
        topics=[topic] * len(items),
        payloads=[payload for _, payload in items],
        received=[NOW + i for i in range(len(items))],
        retained=retained or set(),
        cut=cut or {},
    )
    senders = [sender for sender, _ in items]
    return build(
        messages, senders, decode(messages, senders), metrics=METRICS, retention_us=400 * 86_400_000_000
    )


def _ms(offset_s: float) -> bytes:
    return str(int(NOW / 1000 + offset_s * 1000)).encode()


def test_the_four_forms() -> None:
    batch = _batch(
        (SMOKE, b'{"ts":' + _ms(0) + b',"value":3.42,"seq":17}'),
        (SMOKE, b'{"ts":"2025-11-21T18:40:00.123+00:00","metrics":{"smoke":41.0,"battery":97},"seq":18}'),
        (SMOKE, b'[{"ts":' + _ms(-60) + b',"value":1},{"ts":' + _ms(-30) + b',"value":2}]'),
        (
            CAMERA,
            b'{"ts":' + _ms(0) + b',"event":"person","score":0.91,"id":"c","state":"new","zone":"gate"}',
        ),
        (STATUS, b"online"),
    )
    assert batch.refused == []
    assert batch.readings.value.tolist() == [3.42, 41.0, 97.0, 1.0, 2.0]
    assert batch.readings.metric.tolist() == [1, 1, 2, 1, 1]
    assert batch.readings.seq.tolist() == [17, 18, 18, NO_SEQ, NO_SEQ]
    assert batch.source.tolist() == [0, 1, 1, 2, 2]
    assert [(d.label, d.score, d.zone) for d in batch.detections] == [("person", 0.91, "gate")]
    assert batch.links == {7: ("online", NOW + 4)}


def test_quality_of_late_ahead_timeless_and_retained() -> None:
    batch = _batch(
        (SMOKE, b'{"ts":' + _ms(-400) + b',"value":1}'),
        (SMOKE, b'{"ts":' + _ms(150) + b',"value":2}'),
        (SMOKE, b'{"value":3}'),
        (SMOKE, b'{"ts":' + _ms(-10) + b',"value":4}'),
        retained={3},
    )
    assert batch.readings.quality.tolist() == [
        Quality.LATE,
        Quality.CLOCK_AHEAD,
        Quality.TIME_ESTIMATED,
        Quality.RETAINED,
    ]
    assert batch.readings.observed_us[2] == NOW + 2


def test_impossible_times_are_refused_and_the_rest_of_the_message_is_not() -> None:
    batch = _batch(
        (SMOKE, b'[{"ts":0,"value":1},{"ts":' + _ms(0) + b',"value":2}]'),
        (SMOKE, b'{"ts":' + _ms(2 * 86400) + b',"value":3}'),
        (SMOKE, b'{"ts":1763750400,"value":4}'),
        (CAMERA, b'{"ts":0,"event":"person"}'),
    )
    assert batch.readings.value.tolist() == [2.0]
    assert sorted((r.position, r.why.reason) for r in batch.refused) == [
        (position, Rejection.TIME_OUT_OF_RANGE) for position in range(4)
    ]
    assert batch.detections == []


def test_what_another_sender_calls_not_a_number_is_refused_and_its_neighbours_are_kept() -> None:
    messages = Messages(topics=[b"up"], payloads=[b"{}"], received=[NOW])
    said = {0: [Measured(7, NOW, None, [(1, float("nan")), (2, 93.0)])]}
    nobody = [Rejected(Rejection.BAD_TOPIC, "not ours")]
    batch = build(messages, nobody, nobody, metrics=METRICS, retention_us=400 * 86_400_000_000, foreign=said)
    assert batch.readings.value.tolist() == [93.0]
    assert [(one.position, one.why.reason) for one in batch.refused] == [(0, Rejection.NOT_FINITE)]


def test_good_messages_beside_bad_ones() -> None:
    batch = _batch(
        (SMOKE, b'{"ts":' + _ms(0) + b',"value":1}'),
        (SMOKE, b"rubbish"),
        (Rejected(Rejection.BAD_TOPIC, "no"), b'{"value":9}'),
        (SMOKE, b'{"value":1,"seq":99999999999999999999}'),
        (CAMERA, b'{"value":1}'),
        (STATUS, b"maybe"),
        (SMOKE, b'{"ts":' + _ms(1) + b',"value":2}'),
        (SMOKE, b""),
        cut={7: 400_000},
    )
    assert batch.readings.value.tolist() == [1.0, 2.0]
    assert {r.position: r.why.reason for r in batch.refused} == {
        1: Rejection.NOT_JSON,
        2: Rejection.BAD_TOPIC,
        3: Rejection.WRONG_SHAPE,
        4: Rejection.WRONG_SHAPE,
        5: Rejection.WRONG_SHAPE,
        7: Rejection.OVERSIZE,
    }


def test_new_metric_names_are_announced_before_they_are_needed() -> None:
    messages = Messages(
        topics=[b"t"], payloads=[b'{"metrics":{"smoke":1,"co":2,"no\\u0000":3}}'], received=[NOW]
    )
    decoded = decode(messages, [SMOKE])
    assert unknown_metrics(decoded, METRICS) == []  # an object with a hostile name is refused whole
    messages.payloads = [b'{"metrics":{"smoke":1,"co":2}}']
    assert unknown_metrics(decode(messages, [SMOKE]), METRICS) == ["co"]


def test_an_empty_batch_has_empty_columns() -> None:
    assert len(_batch((STATUS, b"offline")).readings) == 0
    assert np.asarray(_batch((SMOKE, b"x")).source).size == 0


def test_a_payload_of_another_device_than_its_topic_is_refused_and_its_neighbours_are_not() -> None:
    batch = _batch(
        (SMOKE, b'{"value": 1, "device": "s-1"}'),
        (SMOKE, b'{"ts": ' + _ms(0) + b', "value": 2, "device": "s-2"}'),
        (SMOKE, b'[{"value": 3}, {"value": 4, "device": "s-2"}]'),
        (CAMERA, b'{"event": "person", "id": "c", "device": "s-2"}'),
        topic=b"city/c/smoke/s-1",
    )
    assert [(one.position, one.why.reason) for one in batch.refused] == [
        (place, Rejection.OTHER_DEVICE) for place in (1, 2, 3)
    ]
    assert batch.readings.value.tolist() == [1.0, 3.0]
    assert batch.detections == []
