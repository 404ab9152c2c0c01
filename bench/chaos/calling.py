"""A person who reports something every other second and does not give up: each report under a key of its own.

What was answered with 201 must be there, once, however often it had to be sent: a centre may have died between its
commit and its answer.
"""

import threading
from collections import Counter

import httpx

EVERY_S = 2.0
_AGAIN_S = 0.3
_PATIENCE_S = 5.0  # of one attempt; then the same key again


class Caller:
    """A thread that reports over HTTP until it is stopped."""

    def __init__(self, port: int, token: str) -> None:
        """`port` of 127.0.0.1 is where some centre answers."""
        self._address = f"http://127.0.0.1:{port}/api/incidents"
        self._token = token
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.answered: list[str] = []  # what was said, in the order of the answers
        self.attempts = 0
        self.failures: Counter[str] = Counter()
        self.refused: list[str] = []  # answers that no repetition changes

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Give up what is not answered yet."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2 * _PATIENCE_S)

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            text = f"call {number}"
            while not self._stop.is_set() and not self._said(text):
                self._stop.wait(_AGAIN_S)
            number += 1
            self._stop.wait(EVERY_S)

    def _said(self, text: str) -> bool:
        """One attempt; True when there is nothing more to do."""
        self.attempts += 1
        try:
            answer = httpx.post(
                self._address,
                json={"category": "public.other", "text": text},
                headers={"Authorization": f"Bearer {self._token}", "Idempotency-Key": text},
                timeout=_PATIENCE_S,
            )
        except httpx.HTTPError as error:
            self.failures[type(error).__name__] += 1
            return False
        if answer.status_code >= 500 or answer.status_code == 429:
            self.failures[str(answer.status_code)] += 1
            return False
        if answer.is_success:
            self.answered.append(text)
        else:
            self.refused.append(f"{text}: {answer.status_code} {answer.text[:300]}")
        return True
