"""A photo is a picture and nothing else: proved, written anew, kept for its owner's eyes."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from city.storage.photos import Photo
from command_centre import photos
from command_centre.photos import PhotoError, Taken, examine


def picture(kind: str = "JPEG", size: tuple[int, int] = (64, 48), **options: object) -> bytes:
    image = Image.new("RGB", size)
    image.paste("red", (0, 0, size[0] // 2, size[1]))  # the left half
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def with_position() -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "SecretMaker"
    exif[0x0112] = 6  # taken with the camera turned: rotate by 90 degrees
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2] = "N", (22.0, 41.0, 0.0)
    return picture(exif=exif.tobytes(), comment=b"at my home")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_pictures_become_jpeg_with_a_small_one(kind: str) -> None:
    taken = examine("a", picture(kind, (800, 600)))
    assert (taken.photo.width, taken.photo.height) == (800, 600)
    with Image.open(BytesIO(taken.picture)) as whole, Image.open(BytesIO(taken.small)) as small:
        assert whole.format == small.format == "JPEG"
        assert max(small.size) == photos.SMALL_SIDE
        red, *_ = whole.getpixel((100, 300))  # type: ignore[misc]  # three bands
        assert red > 200


def test_what_the_camera_wrote_is_gone_and_the_picture_stands_upright() -> None:
    raw = with_position()
    assert b"SecretMaker" in raw
    taken = examine("a.jpg", raw)
    for part in (b"SecretMaker", b"at my home", b"Exif"):
        assert part not in taken.picture
        assert part not in taken.small
    with Image.open(BytesIO(taken.picture)) as whole:
        assert not whole.getexif()
        assert whole.size == (48, 64)
        top, bottom = whole.getpixel((24, 5)), whole.getpixel((24, 60))
    assert top[0] > 200  # type: ignore[index]  # three bands
    assert bottom[0] < 50  # type: ignore[index]  # three bands


def test_a_second_file_behind_the_first_is_left_behind() -> None:
    taken = examine("a.jpg", picture() + b"PK\x03\x04 something else")
    assert b"something else" not in taken.picture


def test_what_is_see_through_gets_a_white_ground() -> None:
    out = BytesIO()
    Image.new("RGBA", (10, 10), (0, 0, 0, 0)).save(out, "PNG")
    with Image.open(BytesIO(examine("a.png", out.getvalue()).picture)) as whole:
        assert whole.getpixel((5, 5)) == (255, 255, 255)


def test_a_large_one_is_kept_smaller() -> None:
    taken = examine("a", picture("PNG", (6000, 1000)))
    assert (taken.photo.width, taken.photo.height) == (4096, 683)


@pytest.mark.parametrize(
    "raw", [b"", b"hello", b"%PDF-1.7", b"GIF89a" + bytes(100), b"<svg xmlns='x'/>", b"RIFF1234AVI "]
)
def test_what_is_no_photo_is_named(raw: bytes) -> None:
    with pytest.raises(PhotoError, match=r"^cat\.jpg: is no photo; send"):
        examine("cat.jpg", raw)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_damaged_one_is_refused(kind: str) -> None:
    raw = picture(kind, (400, 400), quality=95) if kind != "PNG" else picture(kind, (400, 400))
    with pytest.raises(PhotoError, match="is damaged"):
        examine("a", raw[: len(raw) // 2])
    with pytest.raises(PhotoError, match="is damaged"):
        examine("a", raw[:12] + bytes(200))


def _bomb(width: int, height: int) -> bytes:
    """A PNG of one bit a pixel that packs gigabytes of picture into kilobytes of file."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1024 * 1024))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [7072, 30_000, 100_000])
def test_a_bomb_is_not_unpacked(side: int) -> None:
    with pytest.raises(PhotoError, match=r"too many pixels|is damaged"):
        examine("a.png", _bomb(side, side))


def test_one_that_is_too_large_is_refused_unread() -> None:
    with pytest.raises(PhotoError, match="larger than 10 MB"):
        examine("a.jpg", b"\xff\xd8\xff" + bytes(photos.MOST_BYTES))


def test_a_name_cannot_write_into_a_log() -> None:
    with pytest.raises(PhotoError) as caught:
        examine("a\n\x1b[31m" + "b" * 500, b"")
    assert caught.value.name.isprintable()
    assert len(caught.value.name) == 100


def test_files_are_the_centres_own(tmp_path: Path) -> None:
    taken = Taken(
        photo=Photo(digest=bytes(range(32)), original=bytes(32), bytes=3, width=1, height=1),
        picture=b"abc",
        small=b"d",
    )
    folder = tmp_path / "photos"
    photos._write(folder, taken)
    photos._write(folder, taken)  # once more is no fault
    whole = photos.path(folder, bytes(range(32)))
    assert whole == folder / "00" / ("01" + bytes(range(2, 32)).hex() + ".jpg")
    assert whole.read_bytes() == b"abc"
    assert photos.path(folder, bytes(range(32)), small=True).read_bytes() == b"d"
    assert len(list(whole.parent.iterdir())) == 2
    assert whole.stat().st_mode & 0o777 == 0o600
    assert whole.parent.stat().st_mode & 0o777 == 0o700
