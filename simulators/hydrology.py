"""Stations of SL 651-2014 that report a rising river: ``python -m simulators.hydrology --port 5651``.

An independent other end: frames are built here from the standard's tables and by nothing of the product's. Each
station says that it is there (2FH), reports at its interval (32H), adds a report when the level moved (33H), sends the
five-minute series of an hour (34H), and sends a report again under the same serial number until it is confirmed.
"""

import argparse
import asyncio
import math
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from city.settings import load

LINK, TEST, UNIFORM, TIMER, ADDED, HOURLY, MANUAL, PICTURE = 0x2F, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36
STX, SYN, ETX, ETB, EOT, ESC = 0x02, 0x16, 0x03, 0x17, 0x04, 0x1B
RIVER, RAIN = 0x48, 0x50  # types of station, appendix A


def crc16(data: bytes) -> bytes:
    """The checksum as it is sent, high byte first."""
    register = 0xFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            low = register & 1
            register >>= 1
            if low:
                register ^= 0xA001
    return bytes((register >> 8, register & 0xFF))


def bcd(digits: str) -> bytes:
    """Two digits a byte; an odd number gets a nought before it."""
    return bytes.fromhex(digits.zfill(len(digits) + len(digits) % 2))


def stamp(moment: datetime, *, seconds: bool) -> bytes:
    """YYMMDDHHmm, or with SS, in the moment's own zone."""
    return bcd(moment.strftime("%y%m%d%H%M%S" if seconds else "%y%m%d%H%M"))


def element(guide: int, value: float | None, size: int, decimals: int) -> bytes:
    """One element of table C.1; None = not measured, and a minus takes the first byte."""
    head = bytes((guide, size << 3 | decimals))
    if value is None:
        return head + b"\xff" * size
    digits = str(round(abs(value) * 10**decimals))
    if value < 0:
        return head + b"\xff" + bcd(digits.zfill(2 * (size - 1)))
    return head + bcd(digits.zfill(2 * size))


def series(guide: int, values: Sequence[float | None]) -> bytes:
    """Twelve values of five minutes: rain (F4H) in a byte each, levels (F5H to FCH) in two."""
    rain = guide == 0xF4
    size, scale = (1, 10) if rain else (2, 100)
    said = b"".join(
        b"\xff" * size if value is None else round(value * scale).to_bytes(size, "big") for value in values
    )
    return bytes((guide, len(said) << 3 & 0xFF)) + said


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a frame comes from and goes to; ``station`` is ten hexadecimal digits, ``password`` four."""

    station: str
    centre: int = 1
    password: str = "1234"  # noqa: S105 - of a simulated station

    @property
    def upwards(self) -> bytes:
        """The header's first eight bytes after the start."""
        return bytes((self.centre,)) + bytes.fromhex(self.station + self.password)


def frame(address: Address, function: int, text: bytes, *, end: int = ETX) -> bytes:
    """One frame of the hexadecimal form (table 20)."""
    said = (
        b"\x7e\x7e"
        + address.upwards
        + bytes((function,))
        + len(text).to_bytes(2, "big")
        + bytes((STX,))
        + text
    )
    said += bytes((end,))
    return said + crc16(said)


def packets(address: Address, function: int, text: bytes, size: int) -> list[bytes]:
    """The same text in several frames, each with their total and its number (mode M3)."""
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    made = []
    for number, part in enumerate(parts, start=1):
        body = (len(parts) << 12 | number).to_bytes(3, "big") + part
        said = (
            b"\x7e\x7e"
            + address.upwards
            + bytes((function,))
            + len(body).to_bytes(2, "big")
            + bytes((SYN,))
            + body
        )
        said += bytes((ETX if number == len(parts) else ETB,))
        made.append(said + crc16(said))
    return made


def text_frame(address: Address, function: int, text: str) -> bytes:
    """One frame of the ASCII form (table 11)."""
    head = f"{address.centre:02X}{address.station}{address.password}{function:02X}0{len(text):03X}"
    said = b"\x01" + head.encode() + bytes((STX,)) + text.encode() + bytes((ETX,))
    return said + crc16(said).hex().upper().encode()


def opening(serial: int, sent: datetime, station: str = "", kind: int | None = None) -> bytes:
    """What every text begins with; a report has the station and its type, too."""
    said = serial.to_bytes(2, "big") + stamp(sent, seconds=True)
    if station:
        said += b"\xf1\xf1" + bytes.fromhex(station)
    return said + (bytes((kind,)) if kind is not None else b"")


def observed(moment: datetime) -> bytes:
    """The observation time of what follows."""
    return b"\xf0\xf0" + stamp(moment, seconds=False)


class Station:
    """One simulated station: what its river does, and its frames."""

    def __init__(
        self, address: Address, *, base_m: float, rise_m: float, hours: float, zone: ZoneInfo, seed: int
    ) -> None:
        self.address = address
        self._base, self._rise, self._hours, self._zone = base_m, rise_m, hours, zone
        self._random = random.Random(seed)
        self._begun = datetime.now(zone)
        self._serial = 0
        self._rained = 0.0
        self._said: float | None = None  # the level of the last report

    def level(self, moment: datetime) -> float:
        """Metres: the base, and a rise that follows an S over ``hours``."""
        gone = (moment - self._begun) / timedelta(hours=self._hours)
        return self._base + self._rise / (1 + math.exp(6 - 12 * min(1.0, max(0.0, gone))))

    def link(self) -> bytes:
        """It is there; the number is not counted on."""
        return frame(self.address, LINK, opening(self._serial, datetime.now(self._zone)))

    def timer(self) -> bytes:
        """What it measures now."""
        return self._report(TIMER)

    def added(self, least_m: float) -> bytes | None:
        """An added report, where the level moved by so much since the last one said."""
        now = self.level(datetime.now(self._zone))
        return self._report(ADDED) if self._said is not None and abs(now - self._said) >= least_m else None

    def hourly(self) -> bytes:
        """The last hour's rain and levels, five minutes apart."""
        now = datetime.now(self._zone).replace(second=0, microsecond=0)
        times = [now - timedelta(minutes=5 * back) for back in range(11, -1, -1)]
        text = self._opening(now) + observed(times[0])
        text += series(0xF4, [self._random.randrange(5) / 10 for _ in times]) + observed(times[0])
        text += series(0xF5, [self.level(time) - self._base for time in times]) + observed(now)
        return frame(self.address, HOURLY, text + element(0x39, self.level(now), 4, 3))

    def _report(self, function: int) -> bytes:
        now = datetime.now(self._zone)
        self._said = self.level(now)
        self._rained = round(self._rained + self._random.randrange(3) / 10, 1)
        text = self._opening(now) + observed(now)
        text += element(0x20, self._rained, 3, 1) + element(0x26, self._rained, 3, 1)
        text += element(0x39, self._said, 4, 3) + element(0x38, 12.6 + self._random.random() / 10, 2, 2)
        return frame(self.address, function, text + b"\x45\x20" + (0x80).to_bytes(4, "big"))

    def _opening(self, sent: datetime) -> bytes:
        self._serial = self._serial % 65535 + 1
        return opening(self._serial, sent, self.address.station, RIVER)


def confirms(answer: bytes, report: bytes) -> bool:
    """Whether a downward frame confirms this report (table 21): addresses turned round, function, serial number."""
    return (
        len(answer) >= 25
        and answer[:2] == b"\x7e\x7e"
        and crc16(answer[:-2]) == answer[-2:]
        and answer[2:8] == report[3:8] + report[2:3]
        and answer[8:11] == report[8:11]
        and answer[11] & 0xF0 == 0x80
        and answer[14:16] == report[14:16]
        and answer[-3] in (EOT, ESC)
    )


async def speak(
    station: Station, host: str, port: int, *, interval_s: float, added_m: float, wait_s: float
) -> None:
    """Connect, report for ever, send again what is not confirmed, connect again when the line is lost."""
    while True:
        try:
            reader, writer = await asyncio.open_connection(host, port)
        except OSError as error:
            print(f"{station.address.station}: {error}; again in 5 s", file=sys.stderr)  # noqa: T201 - a program for a terminal
            await asyncio.sleep(5)
            continue
        writer.write(station.link())
        try:
            await _deliver(reader, writer, station.hourly(), wait_s)
            while True:
                await _deliver(reader, writer, station.timer(), wait_s)
                for _ in range(4):
                    await asyncio.sleep(interval_s / 4)
                    more = station.added(added_m)
                    if more is not None:
                        await _deliver(reader, writer, more, wait_s)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()
            await asyncio.sleep(1)


async def _deliver(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, report: bytes, wait_s: float
) -> None:
    while True:
        writer.write(report)
        await writer.drain()
        try:
            head = await asyncio.wait_for(reader.readexactly(14), wait_s)
            length = int.from_bytes(head[11:13], "big") & 0xFFF
            answer = head + await asyncio.wait_for(reader.readexactly(length + 3), wait_s)
        except TimeoutError:
            continue
        if confirms(answer, report):
            return


async def play(arguments: argparse.Namespace) -> None:
    """All stations of the command line at once."""
    zone = load().zone
    stations = [
        Station(
            Address(station=f"{int(arguments.station) + number:010d}", password=arguments.password),
            base_m=arguments.base,
            rise_m=arguments.rise,
            hours=arguments.hours,
            zone=zone,
            seed=number,
        )
        for number in range(arguments.stations)
    ]
    await asyncio.gather(
        *(
            speak(
                one,
                arguments.host,
                arguments.port,
                interval_s=arguments.interval,
                added_m=arguments.added,
                wait_s=10,
            )
            for one in stations
        )
    )


def main() -> None:
    """Read the command line and play until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m simulators.hydrology", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=load().sl651_port or 5651)
    parser.add_argument("--station", default="0011223301", help="address of the first, ten digits")
    parser.add_argument("--stations", type=int, default=1)
    parser.add_argument("--password", default="1234", help="four hexadecimal digits")
    parser.add_argument("--base", type=float, default=3.0, help="level before the rise, m")
    parser.add_argument("--rise", type=float, default=2.5, help="m")
    parser.add_argument("--hours", type=float, default=1.0, help="that the rise takes")
    parser.add_argument("--interval", type=float, default=60.0, help="s between reports")
    parser.add_argument("--added", type=float, default=0.05, help="m of change that make an added report")
    try:
        asyncio.run(play(parser.parse_args()))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
