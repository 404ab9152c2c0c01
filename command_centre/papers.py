"""Documents taken in: known by their first bytes, kept under their digest, given back as files and never shown.

``documents/ab/cdef…`` in the data folder, readable by the centre's own user alone. Nothing here is opened: a document
leaves as it came, and a browser is told to save it.
"""

import asyncio
import hashlib
import zipfile
from io import BytesIO
from pathlib import Path

from city.errors import CityError
from command_centre import kept_files

MOST_BYTES = 20 * 1024 * 1024
MOST_EACH = 50  # documents of one entry
_ENDINGS = {"text": ("txt", "csv", "md", "log", "json")}  # else a file ends as its kind is called
_OFFICE = {"word/document.xml": "docx", "xl/workbook.xml": "xlsx", "ppt/presentation.xml": "pptx"}
MEDIA = {
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "text": "text/plain; charset=utf-8",
}


class DocumentError(CityError):
    """A file that is not taken; ``reason_zh`` says so in Chinese."""

    def __init__(self, reason_zh: str, reason: str) -> None:
        super().__init__(reason)
        self.reason_zh = reason_zh


def kind_of(name: str, content: bytes) -> str:
    """What it is by its content, which its name has to agree with: a key of ``MEDIA``. Raises DocumentError."""
    kind = _by_content(name, content)
    endings = _ENDINGS.get(kind, (kind,))
    last = safe_name(name).rpartition(".")[2].lower()
    if last not in endings:  # a text called .hta or .bat would run on the machine of who saves it
        listed = ", ".join(endings)
        raise DocumentError(
            f"“{name[:100]}”的扩展名与内容不符，应为 {listed}",
            f"{name[:100]}: its content is {kind}; let its name end in {listed}",
        )
    return kind


def _by_content(name: str, content: bytes) -> str:
    shown = name[:100]
    if not content or len(content) > MOST_BYTES:
        most = MOST_BYTES // 1024 // 1024
        raise DocumentError(f"“{shown}”为空或超过{most} MB", f"{shown}: is empty or larger than {most} MB")
    if content.startswith(b"%PDF-"):
        return "pdf"
    if content.startswith(b"PK\x03\x04") and (office := _office(content)):
        return office
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\x00"
    if text.isprintable() or all(letter.isprintable() or letter in "\t\r\n\f" for letter in text):
        return "text"
    raise DocumentError(
        f"“{shown}”类型不支持，请上传 PDF、Word、Excel、PowerPoint 或文本",
        f"{shown}: is of no known kind; send PDF, docx, xlsx, pptx or text",
    )


def _office(content: bytes) -> str | None:
    """Without macros only: their files have another content type, and a vbaProject inside."""
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, RuntimeError):
        return None
    if any(name.lower().endswith("vbaproject.bin") for name in names):
        return None
    return next((kind for name, kind in _OFFICE.items() if name in names), None)


def safe_name(name: str) -> str:
    """A name that a header and a person's disk can take."""
    last = name.replace("\\", "/").split("/")[-1]
    kept = "".join(letter if letter.isprintable() and letter not in '"<>:|?*;%' else "_" for letter in last)
    return kept.strip(" .")[:150] or "document"


def path(folder: Path, digest: bytes) -> Path:
    """Where a document stands."""
    name = digest.hex()
    return folder / name[:2] / name[2:]


async def keep(folder: Path, content: bytes) -> bytes:
    """Write the file in a thread; its digest. Raises RoomError."""
    digest = hashlib.sha256(content).digest()
    await asyncio.to_thread(kept_files.write, folder, path(folder, digest), content)
    return digest
