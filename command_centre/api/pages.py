"""The front end's files: one page for every view, assets that never change under their name."""

import mimetypes
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, HTMLResponse, Response

import command_centre
from command_centre.api.problem import not_found

router = APIRouter(include_in_schema=False)

BUILT = Path(command_centre.__file__).parent / "web" / "dist"
_NOT_BUILT = """<!doctype html><html lang="zh"><meta charset="utf-8">
<title>City command centre</title>
<h1>前端尚未构建 / The front end is not built</h1>
<p>请在仓库目录运行 <code>make setup</code>（或 <code>python hatch_build.py</code>），然后刷新本页。</p>
<p>Run <code>make setup</code> (or <code>python hatch_build.py</code>) in the checkout,
then reload this page.</p>
<p>API: <a href="/docs">/docs</a>, <a href="/readyz">/readyz</a></p></html>"""
_YEAR = "public, max-age=31536000, immutable"


# What makes a telephone install /field, built beside the assets under names that must not change.
_WORKER = "sw.js"
_MANIFEST = "manifest.webmanifest"


@router.get("/field/sw.js")
def field_worker() -> Response:
    """Keeps the field's page for places without signal; it may stand over /field itself, and over nothing else."""
    return _shell(_WORKER, "text/javascript", {"Service-Worker-Allowed": "/field"})


@router.get("/field/manifest.webmanifest")
def field_manifest() -> Response:
    """Name, icons and start of the installed page."""
    return _shell(_MANIFEST, "application/manifest+json", {})


@router.get("/field/icons/{name}")
def field_icon(name: str) -> Response:
    """A drawn icon of the installed page."""
    if name not in {one.name for one in (BUILT / "field" / "icons").glob("*")}:
        raise not_found("file", "文件", name)
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return _shell(f"icons/{name}", kind, {})


def _shell(name: str, kind: str, headers: dict[str, str]) -> Response:
    file = BUILT / "field" / name
    if not file.is_file():
        raise not_found("file", "文件", name)
    return FileResponse(file, media_type=kind, headers={"Cache-Control": "no-cache", **headers})


@router.get("/")
@router.get("/wall")
@router.get("/wall/{view}")
@router.get("/desk")
@router.get("/desk/{place:path}")
@router.get("/flood")
@router.get("/flood/{place:path}")
@router.get("/field")
@router.get("/field/{place:path}")
@router.get("/settings")
@router.get("/settings/{place:path}")
@router.get("/login")
@router.get("/report")
@router.get("/track")
@router.get("/track/{tracking}")
@router.get("/i/{sort}/{code:path}")
def page(_request: Request) -> Response:
    """The one page; it draws the view that its address names."""
    index = BUILT / "index.html"
    if not index.is_file():
        return HTMLResponse(_NOT_BUILT, status_code=503, headers={"Cache-Control": "no-store"})
    return FileResponse(index, headers={"Cache-Control": "no-cache"})


@router.get("/assets/{path:path}")
def asset(path: str) -> Response:
    """A built file; its name carries a digest of its content, so it may be kept for ever."""
    root = (BUILT / "assets").resolve()
    wanted = (root / path.replace("\0", "")).resolve()
    if not wanted.is_relative_to(root) or not wanted.is_file():
        raise not_found("file", "文件", path)
    kind = mimetypes.guess_type(wanted.name)[0] or "application/octet-stream"
    return FileResponse(wanted, media_type=kind, headers={"Cache-Control": _YEAR})
