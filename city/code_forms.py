"""How public facilities and grids are numbered: text in segments, in as many forms as a district has at once.

Pure. Provinces differ (15-digit grids; components of 16 digits in two cuts, of 18, and of 19), and zeros in front
count: a code is never a number. Where no form is configured, any printable text of up to 64 characters will do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from city.district_source import Faults, TomlTable, shown

LONGEST_CODE = 64
SORTS = ("component", "cell", "building")


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """``length`` characters; ``digits`` = only 0 to 9."""

    name: str
    length: int
    digits: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """One way to write a code."""

    name: str
    segments: tuple[Segment, ...]

    @property
    def length(self) -> int:
        """Of the whole code, in characters."""
        return sum(segment.length for segment in self.segments)


CodeForms = Mapping[
    str, Sequence[Form]
]  # "component", "cell" and "building"; what is missing is not configured


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeParts:
    """A code taken apart. ``form`` is empty where none is configured; the first form that fits is taken."""

    form: str
    parts: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeFault:
    """Why it is no code, with the remedy."""

    reason: str
    reason_en: str


def read_code(text: str, forms: Sequence[Form]) -> CodeParts | CodeFault:
    """The code's segments, or what is wrong with it."""
    if not text or len(text) > LONGEST_CODE or not text.isprintable() or text != text.strip():
        return CodeFault(
            reason=f"编码应为1至{LONGEST_CODE}个可见字符，首尾无空格",
            reason_en=f"write 1 to {LONGEST_CODE} printable characters without blanks around them",
        )
    if not forms:
        return CodeParts(form="", parts={})
    for form in forms:
        if form.length == len(text) and (parts := _cut(text, form)) is not None:
            return CodeParts(form=form.name, parts=parts)
    of_length = [form for form in forms if form.length == len(text)]
    known = "、".join(described(form) for form in of_length or forms)
    what, what_en = (
        ("含有不允许的字符", "holds a character that is not allowed there")
        if of_length
        else (f"有{len(text)}位", f"has {len(text)} characters")
    )
    return CodeFault(
        reason=f"编码{what}，本区格式为：{known}", reason_en=f"the code {what_en}; known are {known}"
    )


def described(form: Form) -> str:
    """``国标 16 = county 6 + major 2``."""
    segments = " + ".join(f"{segment.name} {segment.length}" for segment in form.segments)
    return f"{form.name} ({form.length} = {segments})"


def _cut(text: str, form: Form) -> dict[str, str] | None:
    parts, start = {}, 0
    for segment in form.segments:
        part = text[start : start + segment.length]
        if segment.digits and not (part.isascii() and part.isdigit()):
            return None
        parts[segment.name] = part
        start += segment.length
    return parts


# ── as district.toml and the database write them ─────────────────────────────────────────────────────


def parse_forms(name: str, values: object, faults: Faults) -> dict[str, tuple[Form, ...]]:
    """The table ``[code_forms]``: below it ``component`` and ``cell``, each one form or a list of them."""
    if values is None:
        return {}
    if not isinstance(values, dict):
        faults.value(name, "code_forms", values, "write tables such as [code_forms.component]")
        return {}
    found = {}
    for sort, written in values.items():
        where = f"{name} code_forms.{sort}"
        if sort not in SORTS:
            faults.add(name, f"unknown table code_forms.{shown(sort)}", f"known are {', '.join(SORTS)}")
            continue
        forms = written if isinstance(written, list) else [written]
        found[sort] = tuple(_form(where, number, one, faults) for number, one in enumerate(forms, 1))
    return found


def _form(where: str, number: int, values: object, faults: Faults) -> Form:
    table = TomlTable(where, values, ("name", "segments"), faults)
    written = values.get("segments") if isinstance(values, dict) else None
    if not isinstance(written, list) or not written:
        faults.add(where, "segments is missing", 'write segments = [{ name = "county", length = 6 }, …]')
        written = []
    segments = tuple(_segment(where, one, faults) for one in written)
    names = [segment.name for segment in segments]
    if len(set(names)) != len(names):
        faults.value(where, "segments", names, "give each segment a name of its own")
    form = Form(name=table.text("name", required=False) or f"form {number}", segments=segments)
    if form.length > LONGEST_CODE:
        faults.value(where, "segments", form.length, f"a code has at most {LONGEST_CODE} characters")
    return form


def _segment(where: str, values: object, faults: Faults) -> Segment:
    table = TomlTable(f"{where} segment", values, ("name", "length", "digits"), faults)
    digits = values.get("digits", True) if isinstance(values, dict) else True
    if not isinstance(digits, bool):
        faults.value(where, "digits", digits, "write true or false")
    length = table.positive("length")
    if length is None:
        faults.add(where, "a segment has no length", "give its number of characters")
    return Segment(name=table.text("name"), length=length or 1, digits=digits is not False)


def to_plain(forms: CodeForms) -> dict[str, list[dict[str, Any]]]:
    """As JSON and TOML hold them; ``digits`` only where it is not the default."""
    return {
        sort: [
            {
                "name": form.name,
                "segments": [
                    {"name": segment.name, "length": segment.length}
                    | ({} if segment.digits else {"digits": False})
                    for segment in form.segments
                ],
            }
            for form in forms[sort]
        ]
        for sort in SORTS
        if forms.get(sort)
    }


def from_plain(plain: Mapping[str, Any]) -> dict[str, tuple[Form, ...]]:
    """What ``to_plain`` wrote, as the database gives it back."""
    return {
        sort: tuple(
            Form(name=form["name"], segments=tuple(Segment(**segment) for segment in form["segments"]))
            for form in forms
        )
        for sort, forms in plain.items()
    }
