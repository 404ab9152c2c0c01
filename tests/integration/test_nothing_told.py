"""The main flows of a real centre process with marked secrets and a marked person: no mark in any log, answer, argument
or file, whatever goes wrong."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from tests.integration.running_centre import lay_ground
from tests.integration.test_api_process import REPOSITORY, free_port

PERSON = {
    "name": "MarkedName王小明",
    "phone": "13987654321",
    "email": "marked.person@example.org",
    "told_by": "email",
}
SECRETS = {
    "api_token": "marked-api-token-0123456789",
    "webhook_secret": "marked-webhook-secret",
    "smtp_url": "smtp://mailer:marked-smtp-password@127.0.0.1:9",
    "sms_url": "d7sms://marked-sms-token@127.0.0.1/{phone}",
}
MARKS = ("marked-", "MarkedName", "13987654321", "1398765", "marked.person")
HOOK = "http://127.0.0.1:9/marked-hook-token"
WRONG_PASSWORD = "marked-wrong-password"


class Told:
    """A centre as a process, everything it said, and everything it answered."""

    def __init__(self, url: str, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.log = folder / "centre.log"
        secrets = folder / "secrets"
        secrets.mkdir()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CITY_")}
        environment |= {
            "CITY_HTTP_PORT": str(self.port),
            "CITY_DATA_DIR": str(folder / "data"),
            "CITY_LOG_LEVEL": "debug",
            "CITY_LOG_FORMAT": "json",
            "PYTHONPATH": str(REPOSITORY),
        }
        for name, secret in {**SECRETS, "database_url": url}.items():
            (secrets / name).write_text(secret)
            environment[f"CITY_{name.upper()}_FILE"] = str(secrets / name)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "runtime.cli", "centre"],
                env=environment,
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.answers: list[str] = []
        self._line = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    def ask(
        self, method: str, path: str, *, token: str | None = SECRETS["api_token"], **given: object
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = self._line.request(method, path, headers=headers, **given)  # type: ignore[arg-type]  # httpx's own
        self.answers.append(answer.text)
        return answer

    def until_it_answers(self) -> None:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if self._line.get("/healthz").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError("the centre does not answer")

    def close(self) -> None:
        self._line.close()
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)


@pytest.fixture
def told(migrated_url: str, tmp_path: Path) -> Iterator[Told]:
    lay_ground(migrated_url)
    made = Told(migrated_url, tmp_path)
    try:
        made.until_it_answers()
        yield made
    finally:
        made.close()


def flows(told: Told, url: str) -> str:
    """What people do, and what goes wrong with it; a report's tracking number."""
    assert told.ask("GET", "/api/devices").status_code == 200
    assert told.ask("GET", "/api/devices", token="marked-not-the-token").status_code == 401
    guess = {"name": "admin", "password": WRONG_PASSWORD}
    assert told.ask("POST", "/api/session", token=None, json=guess).status_code == 401
    hook = {"channel": "webhook", "address": HOOK}
    contacts = told.ask("PUT", "/api/units/U1/contacts", json={"items": [hook]})
    assert contacts.status_code == 200, contacts.text
    assert told.ask("POST", "/api/units/U1/contacts/test").status_code < 300
    report = {"text": "有人晕倒", "cell": "C1", "category": "fire.smoke", "contact": PERSON}
    made = told.ask("POST", "/api/reports", json=report)
    assert made.status_code == 201, made.text
    wrong = {**report, "contact": {**PERSON, "shoe": "size"}}
    assert told.ask("POST", "/api/reports", json=wrong).status_code == 422
    tracking = str(made.json()["tracking"])
    told.ask("POST", f"/api/reports/{tracking}/more", json={"text": "还在"}, token=None)
    _followed(told, tracking)
    with psycopg.connect(url, autocommit=True) as connection:
        _until(
            connection, "SELECT count(*) FROM notifications WHERE attempts > 0 AND last_error IS NOT NULL", 2
        )
        for query in ("SELECT last_error FROM notifications", "SELECT action || object || reason FROM audit"):
            told.answers += [str(row[0]) for row in connection.execute(query.encode()).fetchall()]
        audited = connection.execute("SELECT string_agg(a::text, ' ') FROM audit a").fetchall()
    assert "report.contact" in str(audited)
    assert not [one for one in (tracking, tracking.replace("-", "")) if one in str(audited)]
    return tracking


def _followed(told: Told, tracking: str) -> None:
    """Everything whose address holds the number, by the citizen and by staff."""
    number = f"/api/reports/{tracking}"
    page = told.ask("GET", f"/track/{tracking}", token=None)
    assert page.status_code == 200
    assert page.headers["Referrer-Policy"] == "same-origin"
    seen = told.ask("GET", number, token=None)
    assert seen.status_code == 200
    assert "no-store" in seen.headers["Cache-Control"]
    assert told.ask("GET", f"{number}?marked=1", token=None).status_code in (200, 422)
    assert told.ask("POST", f"{number}/rating", json={"speed": 9}, token=None).status_code == 422
    assert told.ask("POST", f"{number}/reopen", json={"reason": "还没好"}, token=None).status_code in (
        409,
        422,
    )
    assert told.ask("PUT", number, token=None).status_code == 405
    contact = told._line.get(f"{number}/contact", headers={"Authorization": f"Bearer {SECRETS['api_token']}"})
    assert contact.status_code == 200  # its answer alone may tell the person, and is not kept


def _until(connection: psycopg.Connection[tuple[object, ...]], query: str, wanted: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        row = connection.execute(query.encode()).fetchone()
        if row is not None and int(str(row[0])) >= wanted:
            return
        time.sleep(0.05)
    rows = connection.execute("SELECT purpose, channel, state, attempts, last_error FROM notifications")
    raise AssertionError(f"not within a minute: {query}: {rows.fetchall()}")


def test_no_mark_is_told_anywhere(told: Told, migrated_url: str) -> None:
    tracking = flows(told, migrated_url)
    arguments = Path(f"/proc/{told.process.pid}/cmdline").read_text()
    environment = Path(f"/proc/{told.process.pid}/environ").read_text()
    told.close()
    said = told.log.read_text()
    assert "message not delivered" in said  # what went wrong is told
    assert "report received" in said
    assert '"route": "/api/reports/{tracking}' in said.replace('":"', '": "')
    for number in (tracking, tracking.replace("-", "")):
        assert number not in said, next(line for line in said.splitlines() if number in line)
    password = urlsplit(migrated_url).password
    for mark in (*MARKS, *([f":{password}@"] if password else [])):
        assert mark not in said, next(line for line in said.splitlines() if mark in line)
        assert mark not in arguments + environment
        files = [file for file in (told.folder / "data").rglob("*") if file.is_file()]
        assert not [file for file in files if mark.encode() in file.read_bytes()]
    for answer in told.answers:
        assert not [mark for mark in MARKS if mark in answer], answer
