"""The checklists in force: built in, or a district's own."""

import tomllib
from importlib import resources
from pathlib import Path

from command_centre.patrol import Checklist, ChecklistError, checklists

NAME = "checklists.toml"


def load(config: Path | None) -> dict[str, Checklist]:
    """By code; a district's own file replaces those that it names. Raises ChecklistError naming file and remedy."""
    built_in = (resources.files("city") / "defaults" / NAME).read_text(encoding="utf-8")
    found = checklists(tomllib.loads(built_in), f"built-in {NAME}")
    own = config / NAME if config is not None else None
    if own is None or not own.exists():
        return found
    try:
        tables = tomllib.loads(own.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ChecklistError(f"{own}: cannot be read ({error})") from error
    return found | checklists(tables, str(own))
