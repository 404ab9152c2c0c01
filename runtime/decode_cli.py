"""``city decode``: what becomes of a message, before any sensor is connected or after it landed in quarantine."""
# ruff: noqa: PLC0415 - as in runtime.cli: `city --help` must not wait for the decoders

import base64
import binascii
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.text import Text

from city import settings
from city.errors import CityError

if TYPE_CHECKING:
    from ingest.explaining import Explained
    from ingest.profile_book import ProfileBook

LARGEST_CAPTURE = 256 * 1024 * 1024  # bytes


class Message(NamedTuple):
    """One captured message; ``where`` is its place in the capture."""

    where: str
    topic: str
    payload: bytes


def decode(
    topic: Annotated[str, typer.Argument(help="MQTT topic, or the path of a capture file with --capture.")],
    payload: Annotated[str, typer.Argument(help="The payload as text; - reads standard input.")] = "",
    as_hex: Annotated[bool, typer.Option("--hex", help="The payload is hexadecimal.")] = False,
    capture: Annotated[
        bool,
        typer.Option(
            "--capture",
            help="TOPIC is a file: JSON lines with topic and payload (payload_hex, payload_base64), or what"
            " `mosquitto_sub -v` prints.",
        ),
    ] = False,
    at: Annotated[
        datetime | None, typer.Option(help="When it came; now by default.", formats=["%Y-%m-%dT%H:%M:%S%z"])
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a message.")] = False,
) -> None:
    """解码 · Show which decoder takes a message, what it becomes, and why not; exit code 1 when one is refused.

    Profiles are the built-in ones and those of CITY_CONFIG's folder; no database and no broker is asked.
    """
    from ingest.explaining import arrival_at, explain
    from ingest.routing import Router, chosen

    given = settings.load()
    router = Router(chosen(given.senders))
    book, mains = _known(given.config)
    arrival = arrival_at(at or datetime.now(UTC), ZoneInfo(given.timezone))
    messages = _captured(Path(topic)) if capture else iter([Message("", topic, _bytes(payload, as_hex))])
    refused = count = 0
    for message in messages:
        done = explain(
            message.topic,
            message.payload,
            arrival,
            router=router,
            book=book,
            mains=mains,
            retention_us=given.retention_days * 86_400_000_000,
        )
        count += 1
        refused += bool(done.refused)
        if as_json:
            _print(done.plain() | ({"where": message.where} if message.where else {}))
        else:
            _show(message, done)
    if capture and not as_json:
        Console().print(f"{count - refused} of {count} understood", highlight=False)
    if refused:
        raise typer.Exit(1)


def _known(folder: Path | None) -> "tuple[ProfileBook, dict[str, str | None]]":
    """Profiles, and main metrics by kind: built in, and of the district's own folder."""
    from city import district, district_files
    from city.district_source import Faults
    from ingest.profile_book import ProfileBook

    faults = Faults()
    texts = [district.built_in_files()["kinds.toml"].decode()]
    own: list[tuple[str, str]] = []
    if folder is not None:
        if (folder / "kinds.toml").exists():
            texts.append((folder / "kinds.toml").read_text("utf-8"))
        own = [(path.name, path.read_text("utf-8")) for path in sorted((folder / "profiles").glob("*.toml"))]
    units: dict[str, str] = {}
    mains: dict[str, str | None] = {}
    for text in texts:
        metrics, kinds = district_files.parse_kinds("kinds.toml", text, faults)
        units |= {metric.code: metric.unit for metric in metrics}
        mains |= {kind.code: kind.main_metric for kind in kinds}
    faults.raise_if_any()
    return ProfileBook(own, units), mains


def _bytes(text: str, as_hex: bool) -> bytes:
    if text == "-":
        content = sys.stdin.buffer.read()
        return _unhexed(content.decode("ascii", "replace")) if as_hex else content
    return _unhexed(text) if as_hex else text.encode()


def _unhexed(text: str) -> bytes:
    try:
        return bytes.fromhex("".join(text.split()))
    except ValueError as error:
        raise CityError(f"--hex: {text[:40]!r} is not hexadecimal; write two digits a byte") from error


def _captured(path: Path) -> Iterator[Message]:
    try:
        if path.stat().st_size > LARGEST_CAPTURE:
            raise CityError(f"{path} is larger than 256 MiB; cut it")
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise CityError(f"{path} cannot be read ({error.strerror}); name a capture file") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _line(f"{path.name} line {number}", line)


def _line(where: str, line: bytes) -> Message:
    if line.lstrip()[:1] != b"{":
        topic, _, payload = line.partition(b" ")  # as `mosquitto_sub -v` prints it
        return Message(where, topic.decode("utf-8", "replace"), payload)
    try:
        said: Any = json.loads(line)
        topic = said["topic"]
        if "payload_hex" in said:
            return Message(where, topic, bytes.fromhex(said["payload_hex"]))
        if "payload_base64" in said:
            return Message(where, topic, base64.b64decode(said["payload_base64"], validate=True))
        payload = said["payload"]
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise CityError(
            f"{where}: is no captured message ({error}); write topic and payload, payload_hex or payload_base64"
        ) from error
    return Message(
        where, str(topic or ""), (payload if isinstance(payload, str) else json.dumps(payload)).encode()
    )


def _print(said: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(said, ensure_ascii=False) + "\n")


def _show(message: Message, done: "Explained") -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(Text(f"{message.where + '  ' if message.where else ''}{message.topic}", style="bold"))
    console.print(f"  decoder   {done.decoder or 'none'}")
    for one in done.became:
        values = one.pop("values", None)
        announced = one.pop("announced", None)
        one.update(announced if isinstance(announced, dict) else {})
        said = ", ".join(f"{key} {value}" for key, value in one.items() if value not in (None, ""))
        console.print(Text(f"  {said}"))
        for key, value in values.items() if isinstance(values, dict) else ():
            console.print(Text(f"    {_value(key, value)}"))
    if not done.became and not done.refused:
        console.print("  understood, and nothing of it is kept")
    for refusal in done.refused:
        console.print(Text(f"  refused   {refusal.reason.value}: {refusal.detail}", style="red"))


def _value(key: str, value: object) -> str:
    if not isinstance(value, dict):
        return f"{key} = {value}"
    sent = f"{key} {value['sent']:g}"
    if value.get("left_out"):
        return f"{sent}  left out by its profile"
    unit = f" {value['sent_unit']}" if value["sent_unit"] else ""
    stored = f"{value['metric']} = {value['value']:g} {value['unit']}".rstrip()
    return f"{sent}{unit}  →  {stored}"
