"""The house rules that a machine can check: imports, long functions, clocks, SQL, languages, clean files."""

import ast
import csv
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("city", "rules", "ingest", "command_centre", "simulators", "runtime")
PURE = (
    "ingest/decoders",
    "rules",
    "command_centre/triage.py",
    "command_centre/fusion.py",
    "command_centre/dispatch.py",
    "command_centre/acting.py",
    "command_centre/api/screen/follow.py",
    "command_centre/api/screen/health.py",
    "command_centre/api/screen/log.py",
    "command_centre/api/screen/sight.py",
    "command_centre/api/screen/state.py",
    "command_centre/api/screen/tally.py",
    "command_centre/sensorthings.py",
    "command_centre/signs.py",
    "city/sensorthings/",
    "command_centre/choosing.py",
    "command_centre/evidence.py",
    "command_centre/clocks.py",
    "command_centre/limits.py",
    "command_centre/matching.py",
    "command_centre/progress.py",
    "command_centre/redispatch.py",
    "command_centre/responsibility",
    "command_centre/workflow",
    "command_centre/deadlines.py",
    "command_centre/alarm_life.py",
    "command_centre/why_",
    "command_centre/flood/forecast/",
    "command_centre/flood/cap.py",
    "command_centre/flood/response.py",
    "command_centre/flood/stations.py",
)
CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter"}
SQL = re.compile(
    r"\s*(SELECT\s|INSERT INTO\s|UPDATE\s+\w+\s+SET|DELETE FROM\s|COPY\s+\w+)"
    r"|\s*(CREATE (TABLE|INDEX|TEMP)|ALTER TABLE)"
)
ADDRESS = re.compile(r"https?://|index-url|file://|git\+|@ ")


def _listed(*patterns: str) -> list[Path]:
    """Files of the repository, without what git ignores."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return [path for name in done.stdout.splitlines() if (path := ROOT / name).is_file()]


def _python(*folders: str) -> list[Path]:
    wanted = tuple(f"{ROOT}/{folder}" for folder in folders)
    return [path for path in _listed("*.py") if not folders or str(path).startswith(wanted)]


def _name(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def _functions(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Functions stand among statements: expressions, which are most of a tree, need no look."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
        yield from _functions(child)


def test_rooms_import_one_way() -> None:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", done.stdout)


def test_a_function_over_sixty_lines_says_why() -> None:
    unexplained = []
    for path in _python():
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        if len(lines) <= 60:
            continue
        for node in _functions(ast.parse(text)):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            assert node.end_lineno is not None
            above = lines[first - 2].strip() if first > 1 else ""
            if node.end_lineno - node.lineno + 1 > 60 and not above.startswith("#"):
                unexplained.append(f"{_name(path, node.lineno)} {node.name}")
    assert unexplained == []


def test_pure_files_read_no_clock() -> None:
    found = []
    for path in _python(*PURE):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in CLOCKS
            ):
                owner = node.func.value
                if isinstance(owner, ast.Name | ast.Attribute) and ast.unparse(owner) in (
                    "time",
                    "datetime",
                    "datetime.datetime",
                    "date",
                    "datetime.date",
                    "pd.Timestamp",
                ):
                    found.append(f"{_name(path, node.lineno)} {ast.unparse(node)}")
    assert found == []


def test_no_test_reads_the_clock_while_it_is_imported() -> None:
    """Such an instant is twenty minutes old when its test's turn comes: fixture `now` gives a fresh one."""
    read = re.compile(
        r"^\w[^#\n]*\b(?:datetime\.now|datetime\.utcnow|date\.today|time\.time(?:_ns)?)\(", re.MULTILINE
    )
    found = [
        f"{path.relative_to(ROOT)}: {hit.group()}"
        for path in _python("tests")
        for hit in read.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_sql_stands_in_the_storage_room_only() -> None:
    found = [
        f"{_name(path, node.lineno)} {node.value[:40]!r}"
        for path in _python(*ROOMS)
        if ROOT / "city/storage" not in path.parents
        if SQL.search(text := path.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value)
    ]
    assert found == []


def test_the_environment_is_read_by_the_settings() -> None:
    found = [
        _name(path, node.lineno)
        for path in _python("city", "rules", "ingest", "command_centre")
        if path != ROOT / "city/settings.py"
        if re.search(r"environ|getenv", text := path.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "os.getenv")
    ]
    assert found == []


def test_no_module_is_a_drawer() -> None:
    drawers = {"utils", "util", "common", "helpers", "helper", "misc", "const", "types"}
    assert [path for path in _python(*ROOMS) if path.stem in drawers or path.parent.name in drawers] == []


def test_nothing_is_left_to_do_in_the_code() -> None:
    left = re.compile(r"(^|[^a-z])(TODO|FIXME|XXX|NotImplementedError|pragma: no cover)")
    found = []
    for path in _listed("*.py", "*.ts", "*.svelte", "*.sql", "*.toml", "*.yml"):
        if path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if left.search(line):
                found.append(f"{_name(path, number)} {line.strip()}")
    assert found == []


def test_no_path_of_this_machine_is_in_a_file() -> None:
    place = f"{ROOT.parent}/"
    if len(place) < 5:
        pytest.skip("the repository stands at the root of the file system")
    texts = {path: path.read_bytes() for path in _listed()}
    assert [path for path, text in texts.items() if place.encode() in text] == []


def test_lock_files_name_no_address() -> None:
    checked = 0
    for path in _listed("requirements.lock", "*.npmrc", "*package-lock.json"):
        checked += 1
        for line in path.read_text(encoding="utf-8").splitlines():
            if path.name == "package-lock.json":
                assert '"resolved"' not in line, f"{path.relative_to(ROOT)}: {line.strip()}"
            else:
                assert not ADDRESS.search(line), f"{path.relative_to(ROOT)}: {line.strip()}"
    assert checked >= 2


def test_every_locked_package_has_a_hash() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", " ")
    packages = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(packages) > 30
    assert [line[:60] for line in packages if "==" not in line or "--hash=sha256:" not in line] == []


def test_built_in_kinds_and_categories_are_named_in_both_languages() -> None:
    kinds = tomllib.loads((ROOT / "city/defaults/kinds.toml").read_text(encoding="utf-8"))
    named = [entry for table in kinds.values() for entry in table.values()]
    with (ROOT / "city/defaults/categories.csv").open(encoding="utf-8", newline="") as file:
        named += list(csv.DictReader(file))
    assert len(named) > 20
    chinese = re.compile(r"[\u4e00-\u9fff]")
    assert [entry for entry in named if not chinese.search(entry["name"])] == []
    assert [entry for entry in named if not re.search(r"[A-Za-z]", entry["name_en"])] == []


def test_an_ignored_lint_says_why() -> None:
    """The reason follows on the same line, or an earlier one of the file says "here and below"."""
    ignored = re.compile(r"#\s*(?:ruff:\s*)?(?:noqa|type:\s*ignore)[^#]*?(?P<reason>(?:#|- ).*)?$")
    found = []
    for path in _python():
        covered = path == Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            match = ignored.search(line)
            if match and match["reason"]:
                covered = covered or "here and below" in match["reason"]
            elif match and not covered:
                found.append(f"{_name(path, number)} {line.strip()}")
    assert found == []
