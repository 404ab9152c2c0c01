"""The API's description: OpenAPI for programs, and one plain page for people that asks no other host."""

from html import escape
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from command_centre.api.answers import answer

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
def schema(request: Request) -> Response:
    """OpenAPI 3.1."""
    return answer(request.app.openapi())


@router.get("/docs")
def page(request: Request) -> Response:
    """The same, readable without a script."""
    return HTMLResponse(render(request.app.openapi()))


def render(schema: dict[str, Any]) -> str:
    """HTML of an OpenAPI document: operations by tag, with parameters, body fields and answers."""
    info = schema["info"]
    groups: dict[str, list[str]] = {}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            tag = operation.get("tags", ["other"])[0]
            groups.setdefault(tag, []).append(_operation(method, path, operation, schema))
    title = escape(info["title"])
    return "".join(
        (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>',
            f"<h1>{title} {escape(info['version'])}</h1><p>{escape(info.get('description', ''))}</p>",
            '<p>For programs: <a href="/openapi.json">/openapi.json</a>.',
            " Live: WebSocket <code>/ws/screen</code>.</p>",
            *(f"<h2>{escape(tag)}</h2>{''.join(parts)}" for tag, parts in sorted(groups.items())),
            "</html>",
        )
    )


def _operation(method: str, path: str, operation: dict[str, Any], schema: dict[str, Any]) -> str:
    parameters = "".join(_parameter(one) for one in operation.get("parameters", []))
    answers = ", ".join(escape(str(status)) for status in operation.get("responses", {}))
    return "".join(
        (
            f"<details><summary><code>{method.upper()} {escape(path)}</code> ",
            f"{escape(operation.get('summary', ''))}</summary>",
            f"<p>{escape(operation.get('description', ''))}</p>",
            f"<ul>{parameters}</ul>" if parameters else "",
            _body(operation, schema),
            f"<p>answers {answers}</p></details>",
        )
    )


def _parameter(parameter: dict[str, Any]) -> str:
    what = {"description": parameter.get("description", ""), **parameter.get("schema", {})}
    name = f"{parameter['name']} ({parameter['in']})"
    return _entry(name, what, required=bool(parameter.get("required")))


def _entry(name: str, what: dict[str, Any], *, required: bool) -> str:
    said = f": {escape(what['description'])}" if what.get("description") else ""
    needed = "required" if required else "optional"
    return f"<li><code>{escape(name)}</code>, {needed}, {escape(_kind(what))}{said}</li>"


def _body(operation: dict[str, Any], schema: dict[str, Any]) -> str:
    content = (
        operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    )
    name = content.get("$ref", "").rsplit("/", 1)[-1]
    model = schema.get("components", {}).get("schemas", {}).get(name)
    if model is None:
        return ""
    needed = set(model.get("required", ()))
    fields = "".join(
        _entry(field, what, required=field in needed) for field, what in model.get("properties", {}).items()
    )
    return f"<p>body (JSON)</p><ul>{fields}</ul>"


def _kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    return " ".join(str(schema[key]) for key in ("type", "format") if key in schema) or "object"
