"""What to do when, served by the centre itself: no script, no log-in, no database, which may be what is away."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import FileResponse, HTMLResponse, Response

import command_centre
from command_centre import runbook_pages
from command_centre.api.problem import not_found
from command_centre.runbook_pages import Language

router = APIRouter(include_in_schema=False)

_HERE = Path(command_centre.__file__).parent
_STYLE = _HERE / "api" / "runbook.css"
Asked = Annotated[Language, Query(alias="lang")]


def folder() -> Path:
    """Where the pages are: inside the wheel, or in the documentation of a checkout."""
    inside = _HERE / "runbooks"
    return inside if inside.is_dir() else _HERE.parent / "docs" / "runbooks"


def texts(language: Language) -> dict[str, str]:
    """Every page's Markdown by its name."""
    within = folder() / "zh" if language == "zh" else folder()
    return {
        path.stem: path.read_text(encoding="utf-8") for path in within.glob("*.md") if path.stem != "README"
    }


@router.get("/runbooks/style.css")
def style() -> Response:
    """The desk's colours."""
    return FileResponse(_STYLE, media_type="text/css", headers={"Cache-Control": "no-cache"})


@router.get("/runbooks")
def listed(language: Asked = "zh") -> Response:
    """All pages by title."""
    titles = {name: runbook_pages.title(text) for name, text in texts(language).items()}
    return HTMLResponse(runbook_pages.index(titles, language))


@router.get("/runbooks/{name}")
def shown(name: str, language: Asked = "zh") -> Response:
    """One page."""
    text = texts(language).get(name)
    if text is None:
        raise not_found("page", "页面", name)
    return HTMLResponse(runbook_pages.page(name, text, language))
