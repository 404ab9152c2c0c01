"""`city doctor`: what is missing or wrong on this machine, each with its remedy, before it costs an evening.

Looks only: starts nothing that stays, changes nothing but creates the data folder.
"warn" works but will hurt; "fail" does not work.
"""

import asyncio
import json
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from subprocess import TimeoutExpired
from subprocess import run as run_program
from typing import Literal
from urllib.parse import urlsplit

from rich.console import Console
from rich.markup import escape

from city import backups, district, settings
from city.chains import Broken
from city.errors import CityError
from city.settings import Settings, SettingsError
from city.storage import backups as stored_backups
from city.storage import database, migrate, services
from command_centre import anchoring, certificate_alarm
from rules.definitions import to_rows
from runtime import audit, connections, data_dir, embedded_broker, embedded_postgres, ports, scale_cli

State = Literal["ok", "warn", "fail"]
MARKS: dict[State, str] = {"ok": "[green]✓[/green]", "warn": "[yellow]![/yellow]", "fail": "[red]✗[/red]"}
OLDEST_PYTHON = (3, 11)
LITTLE_DISK_BYTES = 5 * 1024**3  # some days of a district's readings
NO_DISK_BYTES = 512 * 1024**2
BUILT_AFTER = 1_750_000_000  # a clock before this release (June 2025) is wrong


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line: what was looked at, how it is, and what to do when it is not well."""

    check: str
    state: State
    text: str
    remedy: str = ""


def examine(chosen: Settings) -> Iterator[Finding]:
    """All checks, one finding each."""
    checks: tuple[Callable[[Settings], Finding], ...] = (
        _python,
        _postgres_program,
        _broker_program,
        _data_dir,
        _disk,
        _http_port,
        _mqtt_port,
        _database,
        _account,
        _timelines,
        _backup,
        _broker,
        _log,
        _certificates,
        _district,
        _front_end,
        _clock,
        _api_token,
        _mail,
    )
    for check in checks:
        try:
            yield check(chosen)
        except (CityError, SettingsError, OSError, TimeoutExpired) as error:
            yield Finding(check=check.__name__.strip("_"), state="fail", text=str(error))


def run(console: Console, *, as_json: bool) -> int:
    """Print the findings; returns 0 when nothing fails, 1 when something does, 2 for unusable settings."""
    try:
        chosen = settings.load()
    except SettingsError as error:
        found = [Finding(check="settings", state="fail", text=str(error), remedy="correct or unset it")]
        _show(console, found, as_json=as_json)
        return 2
    found = [Finding(check="settings", state="ok", text="all readable"), *examine(chosen)]
    _show(console, found, as_json=as_json)
    return int(any(finding.state == "fail" for finding in found))


def _show(console: Console, found: list[Finding], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"findings": [asdict(one) for one in found]}, ensure_ascii=False))  # noqa: T201 - a script reads this
        return
    for one in found:
        remedy = f"\n    [bold]→ {escape(one.remedy)}[/bold]" if one.remedy and one.state != "ok" else ""
        line = f"{MARKS[one.state]} {one.check.replace('_', ' ')}: {escape(one.text)}{remedy}"
        console.print(line, highlight=False, soft_wrap=True)


def _python(_: Settings) -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return Finding(check="python", state="fail", text=version, remedy="install Python 3.11 or newer")
    return Finding(check="python", state="ok", text=version)


def _postgres_program(chosen: Settings) -> Finding:
    if chosen.database_url:
        return Finding(check="postgres_program", state="ok", text="not needed: CITY_DATABASE_URL is set")
    if connections.running(chosen) is not None:
        return Finding(check="postgres_program", state="ok", text="running")
    place = embedded_postgres.choose_place(data_dir.prepare(chosen.data_dir))
    how = "in place"
    if place.identity.namespace is not None:
        how = "in place, in a user namespace (PostgreSQL refuses root)"
    elif place.identity.user is not None:
        how = f"as nobody, data in {place.data} (PostgreSQL refuses root, user namespaces are off)"
    return _version("postgres_program", place.binaries / "postgres", how)


def _broker_program(chosen: Settings) -> Finding:
    if chosen.mqtt_url:
        return Finding(check="broker_program", state="ok", text="not needed: CITY_MQTT_URL is set")
    return _version("broker_program", embedded_broker.find_program(), "")


def _version(check: str, program: Path, more: str) -> Finding:
    answer = run_program([program, "--version"], capture_output=True, text=True, check=False, timeout=20)
    if answer.returncode != 0:
        reason = " ".join((answer.stderr or answer.stdout).split())[:200]
        remedy = (
            "this wheel does not fit the machine: `make setup` anew, or set CITY_DATABASE_URL / CITY_MQTT_URL"
        )
        return Finding(check=check, state="fail", text=f"{program} does not run: {reason}", remedy=remedy)
    said = (answer.stdout or answer.stderr).strip()
    return Finding(check=check, state="ok", text=f"{said}{', ' + more if more else ''}")


def _data_dir(chosen: Settings) -> Finding:
    path = data_dir.prepare(chosen.data_dir)
    pid = data_dir.holder(path)
    return Finding(
        check="data_dir", state="ok", text=f"{path}{f', in use by `city up` (pid {pid})' if pid else ''}"
    )


def _disk(chosen: Settings) -> Finding:
    free = shutil.disk_usage(data_dir.prepare(chosen.data_dir)).free
    state: State = "ok" if free > LITTLE_DISK_BYTES else "warn" if free > NO_DISK_BYTES else "fail"
    remedy = "free some space, move CITY_DATA_DIR, or lower CITY_RETENTION_DAYS"
    return Finding(check="disk", state=state, text=f"{free / 1024**3:.1f} GiB free", remedy=remedy)


def _http_port(chosen: Settings) -> Finding:
    return _port(chosen, "http_port", "CITY_HTTP_PORT", chosen.http_port, chosen.http_host)


def _mqtt_port(chosen: Settings) -> Finding:
    if chosen.mqtt_url:
        return Finding(check="mqtt_port", state="ok", text="not needed: CITY_MQTT_URL is set")
    return _port(chosen, "mqtt_port", "CITY_MQTT_PORT", chosen.mqtt_port, "127.0.0.1")


def _port(chosen: Settings, check: str, variable: str, port: int, host: str) -> Finding:
    if ports.is_free(port, host):
        return Finding(check=check, state="ok", text=f"{port} is free")
    owner = ports.holder(port) or "another program"
    if data_dir.holder(chosen.data_dir) is not None:
        return Finding(check=check, state="ok", text=f"{port} is in use by {owner}; `city up` is running")
    return Finding(
        check=check, state="fail", text=f"{port} is taken by {owner}", remedy=f"stop it, or set {variable}"
    )


def _database(chosen: Settings) -> Finding:
    url = chosen.database_url or connections.running(chosen)
    if url is None:
        return Finding(check="database", state="ok", text="embedded, not running; `city up` starts it")
    with database.connect(url, application="city doctor") as connection:
        edition = migrate.edition(connection)
    missing = migrate.missing(url)
    kind = {None: "without TimescaleDB", "apache": "TimescaleDB, Apache edition"}.get(
        edition.timescale, "TimescaleDB, full edition"
    )
    text = f"PostgreSQL {int(edition.server_version) // 10000}, {kind}"
    if missing:
        text += f", {len(missing)} migrations missing"
        return Finding(check="database", state="fail", text=text, remedy="run `city migrate`")
    return Finding(check="database", state="ok", text=f"{text}, schema up to date")


def _account(chosen: Settings) -> Finding:
    """Whether who gets into a serving process gets the schema with it."""
    url = chosen.database_url
    if not url or migrate.missing(url):
        text = "not looked at: `city up` signs in as an account of its own, or the database is not up to date"
        return Finding(check="database_account", state="ok", text=text)
    if not services.owns_schema(url):
        text = "reads and writes rows, and cannot change the schema"
        return Finding(check="database_account", state="ok", text=text)
    return Finding(
        check="database_account",
        state="warn",
        text="the account of CITY_DATABASE_URL owns the schema",
        remedy="name another one there and the owner in CITY_DATABASE_OWNER_URL for `city migrate`"
        " (docs/operations.md)",
    )


def _timelines(chosen: Settings) -> Finding:
    """The newest timelines and some by lot, hashed again, and all of them against their anchors."""
    url = chosen.database_url or connections.running(chosen)
    if url is None or migrate.missing(url):
        return Finding(check="timelines", state="ok", text="not looked at: no database that is up to date")
    with database.translated():
        report = asyncio.run(audit.examined(url, chosen.data_dir / anchoring.FILE, quick=True))
    if not report.broken:
        text = f"{report.incidents} looked at, as they were written; {report.anchors} anchors agree"
        return Finding(check="timelines", state="ok", text=text)
    more = f", and {len(report.broken) - 1} more" if len(report.broken) > 1 else ""
    return Finding(
        check="timelines",
        state="fail",
        text=f"{_where(report.broken[0])}{audit.described(report.broken[0])}{more}",
        remedy="somebody changed the tables by hand: `city audit verify` names all, compare with a backup",
    )


def _backup(chosen: Settings) -> Finding:
    url = chosen.database_url or connections.running(chosen)
    if url is None or migrate.missing(url):
        return Finding(check="backup", state="ok", text="not looked at: no database that is up to date")
    newest, born = stored_backups.newest(url)
    now, most = datetime.now(UTC), timedelta(hours=chosen.backup_max_age_hours)
    text = f"the newest good one is of {newest:%Y-%m-%d %H:%M}Z" if newest else "none was made yet"
    late = backups.overdue(newest, born, now, most) is not None
    remedy = "run `city backup FOLDER` daily, and keep a copy on another machine (docs/backup.md)"
    return Finding(check="backup", state="warn" if late or newest is None else "ok", text=text, remedy=remedy)


def _where(broken: Broken) -> str:
    if not (broken.number and broken.seq):
        return ""
    return f"incident {broken.number} is not as it was written from event {broken.seq} on: "


def _broker(chosen: Settings) -> Finding:
    address = urlsplit(connections.broker(chosen))
    host, port = (
        address.hostname or "127.0.0.1",
        address.port or (8883 if address.scheme == "mqtts" else 1883),
    )
    try:
        socket.create_connection((host, port), timeout=3).close()
    except OSError as error:
        if not chosen.mqtt_url:
            return Finding(check="broker", state="ok", text="embedded, not running; `city up` starts it")
        remedy = "start the broker, or correct CITY_MQTT_URL"
        return Finding(check="broker", state="fail", text=f"{host}:{port}: {error}", remedy=remedy)
    if address.username or address.scheme == "mqtts":
        return Finding(check="broker", state="ok", text=f"{host}:{port} is reachable (log-in not tried)")
    if embedded_broker.accepts(host, port, timeout_s=3):
        return Finding(check="broker", state="ok", text=f"{host}:{port} accepts MQTT sessions")
    remedy = "put user and password into CITY_MQTT_URL, or point it at an MQTT broker"
    return Finding(
        check="broker", state="fail", text=f"{host}:{port} refuses a session without password", remedy=remedy
    )


def _log(chosen: Settings) -> Finding:
    """RabbitMQ's streams, where several machines share the work."""
    if not chosen.stream_url:
        return Finding(check="log", state="ok", text="not partitioned: CITY_STREAM_URL is unset")
    faults = scale_cli.faults(chosen)
    remedy = "`city scale init` adds what is missing; for the rest docs/scale.md"
    if not faults:
        return Finding(
            check="log", state="ok", text="partitions, bindings and what catches the rest are there"
        )
    lost = any("lost" in fault or "missing" in fault or "no partitions" in fault for fault in faults)
    return Finding(check="log", state="fail" if lost else "warn", text="; ".join(faults), remedy=remedy)


def _certificates(chosen: Settings) -> Finding:
    """Those between us and the broker; what an authority issued to devices is in its own folder (`city ca list`)."""
    now = datetime.now(UTC)
    found = certificate_alarm.ends(chosen, now)
    if not found:
        text = "none seen: the broker is not spoken to by TLS, or is away"
        return Finding(check="certificates", state="ok", text=text)
    name, until = min(found.items(), key=lambda one: one[1])
    text = f"{name} is good until {until:%Y-%m-%d}"
    if until > now + certificate_alarm.SOON:
        return Finding(check="certificates", state="ok", text=text)
    remedy = "renew it (`city ca issue`), and put it where it is read: docs/device-credentials.md"
    return Finding(check="certificates", state="fail" if until <= now else "warn", text=text, remedy=remedy)


def _district(chosen: Settings) -> Finding:
    folder = chosen.config
    if folder is None:
        return Finding(check="district", state="ok", text="the built-in demonstration district")
    remedy = "correct these lines; docs/district-files.md describes the files"
    try:
        warnings = district.check_folder(folder, parse_rules=to_rows)
    except CityError as error:
        return Finding(check="district", state="fail", text=str(error), remedy=remedy)
    if warnings:
        return Finding(check="district", state="warn", text="; ".join(warnings), remedy=remedy)
    return Finding(check="district", state="ok", text=f"{folder} is complete")


def _front_end(_: Settings) -> Finding:
    built = resources.files("command_centre") / "web" / "dist" / "index.html"
    if built.is_file():
        return Finding(check="front_end", state="ok", text="built")
    return Finding(
        check="front_end", state="fail", text="the screens are not built", remedy="run `make setup`"
    )


def _clock(_: Settings) -> Finding:
    """Deadlines and clocks of devices are judged by ours."""
    now = time.time()
    remedy = "set the clock and run a time service (chrony, systemd-timesyncd)"
    if now < BUILT_AFTER:
        return Finding(check="clock", state="fail", text=f"{time.ctime(now)} is in the past", remedy=remedy)
    return Finding(check="clock", state="ok", text=time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(now)))


def _api_token(chosen: Settings) -> Finding:
    if chosen.token() is None:
        return Finding(check="api_token", state="ok", text="none: scripts have to log in (CITY_API_TOKEN)")
    return Finding(check="api_token", state="ok", text="set")


def _mail(chosen: Settings) -> Finding:
    if not chosen.smtp_url:
        remedy = "set CITY_SMTP_URL=smtp://user:password@host:587 when units are to get their orders by mail"
        return Finding(
            check="mail", state="warn", text="not configured: orders are not mailed", remedy=remedy
        )
    address = urlsplit(chosen.smtp_url)
    host, port = address.hostname or "", address.port or (465 if address.scheme == "smtps" else 25)
    try:
        socket.create_connection((host, port), timeout=3).close()
    except OSError as error:
        remedy = "correct CITY_SMTP_URL, or start the mail server"
        return Finding(check="mail", state="warn", text=f"{host}:{port}: {error}", remedy=remedy)
    return Finding(check="mail", state="ok", text=f"{host}:{port} is reachable")
