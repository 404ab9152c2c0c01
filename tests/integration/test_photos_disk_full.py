"""Photos when their disk is full: 507 with the remedy, nothing half written, and the report itself is not lost."""

import errno
import os
import random
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image

from command_centre import kept_files
from tests.integration.running_centre import Centre, on_fresh_ground
from tests.servers.postgres import PostgresServer

KB = 1024


@pytest.fixture(scope="module")
def centre(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Centre]:
    """Its photos stand on a file system of 128 KB, or where this machine may not mount one, under such a quota."""
    with on_fresh_ground(postgres_server, postgres_template) as made:
        folder = Path(made.folder.name) / "photos"
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "city-test", str(folder)]
        if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
            try:
                yield made
            finally:
                subprocess.run(["umount", "--lazy", str(folder)], check=True)
            return
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kept_files.os, "fsync", lambda _: _within(folder, 128 * KB))
            yield made


def _within(folder: Path, most: int) -> None:
    if sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) > most:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))


def photo(side: int, seed: int = 1) -> bytes:
    """Noise, which no compression makes small: about 1.5 bytes a pixel."""
    image = Image.frombytes("RGB", (side, side), random.Random(seed).randbytes(side * side * 3))
    out = BytesIO()
    image.save(out, "JPEG", quality=95)
    return out.getvalue()


def files(centre: Centre) -> int:
    folder = Path(centre.folder.name) / "photos"
    return sum(1 for file in folder.rglob("*") if file.is_file())


def report(centre: Centre, *sides: int, bare: bool = False) -> httpx.Response:
    parts = [("photos", (f"{side}.jpg", photo(side, side), "image/jpeg")) for side in sides]
    fields = {"text": "井盖冒水", "cell": "C1", "keep_without_photos": str(bare).lower()}
    return centre.client.post("/api/reports", data=fields, files=parts)


def test_a_full_disk_is_said_and_nothing_is_half_written(centre: Centre) -> None:
    small = report(centre, 64)
    assert small.status_code == 201, small.text
    stood = files(centre)
    assert stood == 2  # the picture and its small one
    known = centre.execute("SELECT count(*) FROM photos")
    for answer in (
        report(centre, 80, 500),  # the first fits and goes again with the second
        centre.client.post("/api/photos", files=[("photos", ("a.jpg", photo(500), "image/jpeg"))]),
    ):
        assert answer.status_code == 507, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        said = answer.json()
        assert said["title_zh"] == "存储空间不足"
        assert said["detail_zh"].startswith("服务器存储空间已满")
        (fault,) = said["errors"]
        assert fault["field"] == "photos"
        assert "send it without them" in fault["remedy"]
        assert files(centre) == stood
    assert centre.execute("SELECT count(*) FROM photos") == known
    assert centre.execute("SELECT count(*) FROM reports") == [(1,)]


def test_a_report_that_may_come_without_photos_is_taken(centre: Centre) -> None:
    stood = files(centre)
    taken = report(centre, 500, bare=True)
    assert taken.status_code == 201, taken.text
    shown = taken.json()["photos"]
    assert shown["kept"] == 0
    assert [one["name"] for one in shown["refused"]] == ["photo 1"]
    assert "存储空间已满" in shown["refused"][0]["reason"]
    assert files(centre) == stood


def test_a_photo_that_fits_is_taken_as_soon_as_there_is_room(centre: Centre) -> None:
    assert report(centre, 96).status_code == 201
