"""Documents: known by their first bytes, and named as what they are."""

import io
import zipfile

import pytest

from command_centre import papers


def docx() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("word/document.xml", "<w/>")
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("合格证.PDF", b"%PDF-1.7", "pdf"),
        ("a.docx", docx(), "docx"),
        ("a.b.txt", "说明".encode(), "text"),
        ("..\\list.csv", b"a,b\n", "text"),
    ],
)
def test_what_is_taken(name: str, content: bytes, kind: str) -> None:
    assert papers.kind_of(name, content) == kind


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("open me.hta", b"<script>1</script>"),
        ("run.bat", b"del *"),
        ("no ending", b"words"),
        ("a.txt:evil.exe", b"words"),
        ("a.pdf", docx()),
        ("a.docx", b"%PDF-1.7"),
    ],
)
def test_a_name_that_says_something_else_is_refused(name: str, content: bytes) -> None:
    with pytest.raises(papers.DocumentError, match="end in"):
        papers.kind_of(name, content)
