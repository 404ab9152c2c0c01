"""Photos taken in: proved to be pictures, freed of what they tell of their maker, kept under their digest.

A file is decoded whole and written anew, so that nothing but the picture is kept: no position, no camera number,
no second file hidden behind the first. What is kept is a JPEG of at most 4096 pixels a side with a small one
beside it, ``photos/ab/cdef….jpg``, readable by the centre's own user alone.
"""

import asyncio
import hashlib
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from psycopg import AsyncConnection

from city.errors import CityError
from city.storage import photos as stored
from city.storage.photos import Photo
from command_centre import kept_files

MOST_BYTES = 10 * 1024 * 1024
MOST_PIXELS = 50_000_000  # decoded it takes 4 bytes each: a small file may unpack to gigabytes
LONGEST_SIDE = 4096
SMALL_SIDE = 320
UNUSED_AFTER = timedelta(days=1)  # uploaded, and never named by a report
_FOLDERS = 256
_DECODING = threading.Semaphore(2)  # memory and cores are for alarms first
_BEGINNINGS: Sequence[tuple[str, Callable[[bytes], bool]]] = (
    ("JPEG", lambda raw: raw.startswith(b"\xff\xd8\xff")),
    ("PNG", lambda raw: raw.startswith(b"\x89PNG\r\n\x1a\n")),
    ("WEBP", lambda raw: raw[:4] == b"RIFF" and raw[8:12] == b"WEBP"),
)

Connection = AsyncConnection[Any]


class PhotoError(CityError):
    """A file that is no usable photo: names the file, says why in both languages and what to send instead."""

    def __init__(self, name: str, reason: str, reason_en: str) -> None:
        self.name = "".join(part for part in name if part.isprintable())[:100] or "photo"
        self.reason = f"{self.name}：{reason}"
        self.reason_en = f"{self.name}: {reason_en}"
        super().__init__(self.reason_en)


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """A photo as it will be kept, with its small one; both JPEG."""

    photo: Photo
    picture: bytes
    small: bytes


async def take(name: str, raw: bytes) -> Taken:
    """Decode and write anew in a thread; raises PhotoError."""
    return await asyncio.to_thread(examine, name, raw)


def examine(name: str, raw: bytes) -> Taken:
    """The same without a thread: 20 to 500 ms, depending on pixels."""
    if len(raw) > MOST_BYTES:
        most = MOST_BYTES // 1024 // 1024
        raise PhotoError(
            name, f"超过{most} MB，请缩小后再传", f"is larger than {most} MB; send a smaller one"
        )
    kind = next((kind for kind, begins in _BEGINNINGS if begins(raw)), None)
    if kind is None:
        raise PhotoError(name, "不是照片，请上传 JPEG、PNG 或 WebP", "is no photo; send JPEG, PNG or WebP")
    try:
        with _DECODING, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is stricter
            picture, small, size = _anew(raw, kind)
    except _TooManyPixelsError as error:
        most = MOST_PIXELS // 1_000_000
        raise PhotoError(
            name, f"像素过多，最多{most}百万", f"has too many pixels; {most} million at most"
        ) from error
    except Exception as error:  # a decoder that is fed with anything raises anything
        raise PhotoError(
            name, "已损坏，无法打开，请重新拍摄或另存", "is damaged; take or save it again"
        ) from error
    photo = Photo(
        digest=hashlib.sha256(picture).digest(),
        original=hashlib.sha256(raw).digest(),
        bytes=len(picture),
        width=size[0],
        height=size[1],
    )
    return Taken(photo=photo, picture=picture, small=small)


class _TooManyPixelsError(Exception):
    pass


def _anew(raw: bytes, kind: str) -> tuple[bytes, bytes, tuple[int, int]]:
    with Image.open(BytesIO(raw), formats=(kind,)) as image:
        if image.width * image.height > MOST_PIXELS:
            raise _TooManyPixelsError
        image.thumbnail(
            (LONGEST_SIDE, LONGEST_SIDE)
        )  # decodes all of it, a large JPEG at a fraction of its size
        turned = ImageOps.exif_transpose(image)
        if turned.mode in ("RGBA", "LA", "PA") or "transparency" in turned.info:
            ground = Image.new("RGBA", turned.size, "white")
            ground.alpha_composite(turned.convert("RGBA"))
            turned = ground
        whole = turned.convert("RGB")
    small = whole.copy()
    small.thumbnail((SMALL_SIDE, SMALL_SIDE))
    return _jpeg(whole, 88), _jpeg(small, 80), whole.size


def _jpeg(image: Image.Image, quality: int) -> bytes:
    bare = Image.new("RGB", image.size)
    bare.paste(image)  # a fresh picture has no comments, profiles or positions to carry along
    out = BytesIO()
    bare.save(out, "JPEG", quality=quality)
    return out.getvalue()


async def keep(
    connection: Connection, folder: Path, taken: Sequence[Taken], *, actor: str, now: datetime
) -> tuple[bytes, ...]:
    """Know photos and write their files, in the caller's transaction; returns their digests, each once.

    Rows before files: whoever cleans up holds the row of a photo while its file goes, so that a file written
    after our row is there stays. Raises RoomError, and then no file of these is there that was not before.
    """
    once = {one.photo.digest: one for one in taken}
    await stored.add(connection, [one.photo for one in once.values()], actor, now)
    made: list[Path] = []
    try:
        for one in once.values():
            made += await asyncio.to_thread(_write, folder, one)
    except kept_files.RoomError:
        await asyncio.to_thread(
            _remove, made
        )  # our rows are held until the caller undoes them: nobody else's files
        raise
    return tuple(once)


def path(folder: Path, digest: bytes, *, small: bool = False) -> Path:
    """Where a photo stands."""
    name = digest.hex()
    return folder / name[:2] / (name[2:] + (".small.jpg" if small else ".jpg"))


def _write(folder: Path, taken: Taken) -> list[Path]:
    """The files that were not there before; of a photo for which there is no room none stays. Raises RoomError."""
    made: list[Path] = []
    try:
        for small, content in ((False, taken.picture), (True, taken.small)):
            target = path(folder, taken.photo.digest, small=small)
            if kept_files.write(folder, target, content):
                made.append(target)
    except kept_files.RoomError:
        _remove(made)
        raise
    return made


def _remove(files: Sequence[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


async def clean(connection: Connection, folder: Path, now: datetime, most: int = 500) -> int:
    """Remove photos that belong to nothing a day after they came; returns how many.

    Of the files that a crash left without a row, one folder of 256 is looked at each time.
    """
    async with connection.transaction():
        unused = await stored.drop_unused(connection, now - UNUSED_AFTER, most)
        for digest in unused:
            for small in (False, True):
                path(folder, digest, small=small).unlink(missing_ok=True)
    strays = _strays(folder / f"{int(now.timestamp() // 3600) % _FOLDERS:02x}", now - UNUSED_AFTER)
    lost = set(await stored.unknown(connection, sorted(strays)))
    for digest, files in strays.items():
        if digest in lost:
            for file in files:
                file.unlink(missing_ok=True)
    return len(unused) + len(lost)


def _strays(folder: Path, before: datetime) -> dict[bytes, list[Path]]:
    """Old files of one folder by the digest in their name; half-written ones go at once."""
    found: dict[bytes, list[Path]] = {}
    for file in sorted(folder.glob("*")) if folder.is_dir() else ():
        if file.stat().st_mtime >= before.timestamp():
            continue
        if file.name.startswith("."):
            file.unlink(missing_ok=True)
            continue
        try:
            digest = bytes.fromhex(folder.name + file.name.partition(".")[0])
        except ValueError:
            continue  # none of ours
        found.setdefault(digest, []).append(file)
    return found
