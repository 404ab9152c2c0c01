"""A person's own district files: tried, shown row by row, and taken in only if what was shown still holds.

The same readers, checks and writers as ``city import``. What was not sent stays as it is: the district's own texts
stand in for it while the files are checked against each other.
"""

import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from psycopg import Connection
from psycopg.rows import TupleRow

from city import district, district_files, district_writing
from city.catalogue_sheet import SheetError
from city.coordinates import Crs
from city.district import ParseRules
from city.district_fates import RowFate, fates
from city.district_source import DistrictFilesError, Fault, Faults, decoded
from city.district_taking import RULES, CheckRules, ImportReport, write
from city.errors import CityError
from city.register_sheets import LISTS, Sent, as_csv, stands_for
from city.storage import device_lists, facility_lists, register_log
from city.storage import district as stored
from city.storage.database import nudge

Db = Connection[TupleRow]
_LARGEST_INSIDE = 200 * 1024 * 1024  # bytes of all files in a zip together, when unpacked
_MOST_FILES = 200


class PreviewError(CityError):
    """The files cannot be taken in; ``zh`` says so in Chinese. ``stale``: what was shown holds no longer."""

    def __init__(self, zh: str, en: str, *, stale: bool = False) -> None:
        super().__init__(en)
        self.zh = zh
        self.stale = stale


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """What files would do, or did. ``token`` names exactly this; ``report`` is None while a row is refused."""

    rows: list[RowFate]
    warnings: list[str]
    report: ImportReport | None
    token: str

    @property
    def refused(self) -> bool:
        """Whether nothing can be written."""
        return any(one.fate == "refused" for one in self.rows)

    def counts(self) -> dict[str, dict[str, int]]:
        """By file: how many rows have which fate."""
        found: dict[str, Counter[str]] = {}
        for one in self.rows:
            found.setdefault(one.file, Counter())[one.fate] += 1
        return {name: dict(counter) for name, counter in found.items()}


def unpacked(uploads: Sequence[tuple[str, bytes]]) -> dict[str, Sent]:
    """Files by their names inside a district's folder; a zip is opened, whatever folder it holds them in.

    A list that came as a sheet or a drawing stands under the name of its CSV file. Raises PreviewError for a name that
    no district has, for a list that came twice, and for a zip or a sheet that is broken or too large.
    """
    given: list[tuple[str, bytes]] = []
    for name, content in uploads:
        given += _zipped(name, content) if name.lower().endswith(".zip") else [(name, content)]
    found: dict[str, Sent] = {}
    for path, content in given:
        one = _sheet(path, content)
        if one.stands_for in found:
            other = found[one.stands_for].name
            raise PreviewError(
                f"“{other}”与“{one.name}”是同一清单，请只发送一个",
                f"{other} and {one.name} are one list; send one",
            )
        found[one.stands_for] = one
    if not found:
        raise PreviewError("没有收到文件", "no file was sent")
    return found


def _sheet(path: str, content: bytes) -> Sent:
    last = path.replace("\\", "/").split("/")[-1]
    if stands_for(last) is None:
        name, content = _named(path, content)
        return Sent(name=name, stands_for=name, content=content)
    try:
        return as_csv(last, content)
    except SheetError as error:
        raise PreviewError(f"“{last}”{error.reason_zh}", str(error)) from error


def _zipped(name: str, content: bytes) -> list[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = [
                one for one in archive.infolist() if not one.is_dir() and "__MACOSX" not in one.filename
            ]
            if len(entries) > _MOST_FILES or sum(one.file_size for one in entries) > _LARGEST_INSIDE:
                raise PreviewError("压缩包过大", f"{name} unpacks to more than is taken")
            return [(one.filename, archive.read(one)) for one in entries]
    except (zipfile.BadZipFile, RuntimeError, EOFError, ValueError) as error:
        raise PreviewError(
            f"“{name}”不是可读的 zip 文件", f"{name} is no zip file that can be read"
        ) from error


def _named(path: str, content: bytes) -> tuple[str, bytes]:
    parts = path.replace("\\", "/").split("/")
    if len(parts) > 1 and parts[-2] in ("rules", "profiles") and parts[-1].endswith(".toml"):
        return f"{parts[-2]}/{parts[-1]}", content
    if parts[-1] in district.NAMES:
        return parts[-1], content
    known = ", ".join((*district.NAMES, "rules/*.toml", "profiles/*.toml"))
    raise PreviewError(
        f"不认识文件“{path}”，可导入：{known}", f"{path} is no file of a district; known are {known}"
    )


def take_in(
    connection: Db,
    sent: Mapping[str, bytes],
    *,
    parse_rules: ParseRules,
    write_rules: district_writing.WriteRules,
    check_rules: CheckRules | None,
    by: str,
    reason: str,
    dry_run: bool,
    expected: str | None = None,
    crs: Mapping[str, Crs] | None = None,
) -> Preview:
    """Write the files that were sent, all rows or none; a dry run does the same work and takes it back.

    So what a preview says of warnings and counts is what the import itself said. ``expected`` is the token of the
    preview a person looked at; ``crs`` says by file of which map its positions are. Raises PreviewError.
    """
    connection.execute("SET LOCAL statement_timeout = '5min'; SET LOCAL lock_timeout = '60s'")
    stored.lock(connection)
    lists, base = _as_it_is(connection, write_rules)
    whole = {name: text.encode() for name, text in base.items()}
    if any(name.startswith("rules/") for name in sent):
        whole = {name: content for name, content in whole.items() if not name.startswith("rules/")}
    faults = Faults()
    built_in = district.built_in_files()
    files, defaults, warnings = district.read(
        whole | dict(sent), built_in, parse_rules, faults, standing=lists, crs=crs
    )
    texts = {name: decoded(name, content, Faults()) or "" for name, content in sent.items()}
    standing = district_files.parse(whole, Faults(), standing=lists)
    rows = fates(texts, files, base, standing, faults.entries)
    if len(faults):
        return _preview(sent, rows, warnings, None)
    try:
        with connection.transaction(force_rollback=dry_run):
            report = write(connection, files, defaults, check_rules, only=_only(sent), by=by, reason=reason)
            done = _preview(sent, rows, warnings + report.warnings, report)
            if expected is not None and expected != done.token and not dry_run:
                raise PreviewError(
                    "情况已变化，与预览不一致，请重新预览",
                    "what the files would change is no longer what the preview said; look at it again",
                    stale=True,
                )
            if not dry_run:
                _finish(connection, files.info, done, by=by, reason=reason)
    except DistrictFilesError as error:
        said = [Fault(where="rules/", what=line, remedy="") for line in str(error).splitlines()]
        refused = [
            RowFate(file="rules/", row=None, key="", name="", fate="refused", faults=(one,)) for one in said
        ]
        return _preview(sent, [*rows, *refused], warnings, None)
    return done


def as_sent(done: Preview, sent: Mapping[str, Sent]) -> Preview:
    """The same told by the names and places of what was sent: a sheet's row, a drawing's feature."""
    other = {name: one for name, one in sent.items() if one.name != name}
    if not other:
        return done
    rows = [_renamed(row, other[row.file]) if row.file in other else row for row in done.rows]
    return replace(done, rows=rows)


def _renamed(row: RowFate, one: Sent) -> RowFate:
    place = None if row.row is None else row.row - one.shift
    faults = tuple(
        replace(fault, where=one.name if place is None else f"{one.name} {one.word} {place}")
        for fault in row.faults
    )
    return replace(row, file=one.name, row=place, faults=faults)


def _as_it_is(
    connection: Db, write_rules: district_writing.WriteRules
) -> tuple[district_files.Standing, dict[str, str]]:
    """The district before this import: its long lists, and everything else as its own files."""
    if stored.load_info(connection) is None:
        return district_files.Standing(), {}
    lists = district_files.Standing(
        devices=device_lists.listed_devices(connection),
        components=facility_lists.listed_components(connection),
        buildings=facility_lists.listed_buildings(connection),
    )
    return lists, district.texts(connection, write_rules=write_rules, without=LISTS)


def _only(sent: Mapping[str, bytes]) -> set[str]:
    folders = {"rules": RULES, "profiles": district_files.PROFILES}
    return {folders.get(name.partition("/")[0], name) for name in sent}


def _preview(
    sent: Mapping[str, bytes], rows: list[RowFate], warnings: list[str], report: ImportReport | None
) -> Preview:
    said = [
        [hashlib.sha256(sent[name]).hexdigest() for name in sorted(sent)],
        [[one.file, one.key, one.fate, one.changes] for one in rows],
        report.as_dict() if report else None,
    ]
    token = hashlib.sha256(json.dumps(said, ensure_ascii=False).encode()).hexdigest()[:24]
    return Preview(rows=rows, warnings=warnings, report=report, token=token)


def _finish(
    connection: Db, info: district_files.DistrictInfo, done: Preview, *, by: str, reason: str
) -> None:
    """The district's own line, and what was changed by whom. The folder's digest stays: what was imported from it
    at the last start is still what it says, and shall not come again by itself."""
    stored.write_info(connection, info, stored.source_digest(connection) or "")
    register_log.imported(
        connection,
        [
            (_action(one), _thing(one), {name: [was, now] for name, was, now in one.changes})
            for one in done.rows
            if one.fate in ("new", "changed", "gone") and one.file in _LOGGED
        ],
        {"files": done.counts(), "token": done.token, "report": asdict(done.report) if done.report else {}},
        by=by,
        reason=reason,
    )
    nudge(connection)


_LOGGED = {"devices.csv": "device", "units.csv": "unit", "areas.geojson": "area"}
_DONE = {"new": "created", "changed": "changed", "gone": "retired"}


def _action(one: RowFate) -> str:
    return f"{_LOGGED[one.file]}.{_DONE[one.fate]}"


def _thing(one: RowFate) -> str:
    if one.file == "areas.geojson":
        return "area:" + ":".join(one.key.split(" ", 1))
    return f"unit:{one.key}" if one.file == "units.csv" else one.key
