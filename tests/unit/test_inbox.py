"""The only queue of ingest: bounded, and read in batches."""

import threading
import time

from ingest.delivery import Delivery
from ingest.inbox import MAX_BYTES, Inbox


def _delivery(messages: int, size: int = 10) -> Delivery:
    return Delivery(
        topics=[b"t"] * messages,
        payloads=[b"x" * size] * messages,
        packet_ids=[1] * messages,
        received_us=0,
        generation=1,
    )


def test_room_ends_with_messages_and_with_bytes_and_comes_back() -> None:
    inbox = Inbox(limit=100, batch=50)
    inbox.put(_delivery(99))
    assert inbox.has_room()
    inbox.put(_delivery(1))
    assert not inbox.has_room()
    taken = inbox.take(gather_s=0, wait_s=0)
    assert not inbox.has_room()  # taken is not committed yet
    inbox.done(taken)
    assert inbox.has_room()
    inbox.put(_delivery(1, MAX_BYTES))
    assert not inbox.has_room()


def test_a_batch_is_whole_deliveries_in_order_up_to_its_size() -> None:
    inbox = Inbox(limit=1000, batch=50)
    for messages in (20, 20, 20, 70, 5):
        inbox.put(_delivery(messages))
    sizes = [[len(delivery) for delivery in inbox.take(gather_s=0, wait_s=0)] for _ in range(4)]
    assert sizes == [[20, 20], [20], [70], [5]]
    assert inbox.take(gather_s=0, wait_s=0) == []


def test_a_full_batch_does_not_wait_for_its_gathering_time() -> None:
    inbox = Inbox(limit=1000, batch=50)
    inbox.put(_delivery(10))
    later = threading.Timer(0.05, inbox.put, [_delivery(45)])
    later.start()
    began = time.monotonic()
    taken = inbox.take(gather_s=60, wait_s=60)
    later.join()
    assert time.monotonic() - began < 30  # of the sixty it may wait: a hang, not a measurement
    assert sum(map(len, taken)) >= 10


def test_what_gathers_in_time_is_one_batch() -> None:
    inbox = Inbox(limit=1000, batch=50)
    inbox.put(_delivery(1))
    threading.Timer(0.01, inbox.put, [_delivery(2)]).start()
    assert [len(delivery) for delivery in inbox.take(gather_s=0.5, wait_s=1)] == [1, 2]
