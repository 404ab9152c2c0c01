"""Every error as RFC 9457 problem+json, in Chinese and English, and never with a traceback in it."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import psycopg
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from city.errors import CityError
from city.sealing import SealingError
from city.storage.database import DatabaseError
from command_centre.kept_files import RoomError
from rules.keys import RuleError

MEDIA_TYPE = "application/problem+json"
_log = structlog.get_logger(__name__)

TITLES_ZH: Mapping[int, str] = {
    400: "请求有误",
    401: "请先登录",
    403: "无权执行",
    404: "不存在",
    405: "不支持该方法",
    408: "请求超时",
    409: "与当前状态冲突",
    412: "已被他人修改",
    411: "缺少内容长度",
    413: "请求过大",
    415: "不支持的媒体类型",
    422: "内容不可用",
    428: "缺少前提条件",
    429: "请稍后再试",
    500: "内部错误",
    503: "暂不可用",
    507: "存储空间不足",
}


class Problem(Exception):  # noqa: N818  # RFC 9457's own word
    """An answer that is not what was asked for. ``more`` adds members, such as the faulty fields."""

    def __init__(
        self,
        status: int,
        detail: str,
        detail_zh: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        **more: object,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.detail_zh = detail_zh
        self.headers = dict(headers or {})
        self.more = more

    def response(self, instance: str = "") -> Response:
        """The answer; ``instance`` is the path that was asked for."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "title_zh": TITLES_ZH.get(self.status, HTTPStatus(self.status).phrase),
            "status": self.status,
            "detail": self.detail,
            "detail_zh": self.detail_zh or self.detail,
            **self.more,
        }
        if instance:
            body["instance"] = instance
        return Response(msgspec.json.encode(body), self.status, self.headers, MEDIA_TYPE)


def not_found(what: str, what_zh: str, code: object) -> Problem:
    """404 naming what was looked for."""
    return Problem(404, f"there is no {what} {code!r}", f"没有{what_zh}“{code}”")


def field_problem(field: str, value: object, remedy: str, remedy_zh: str) -> Problem:
    """422 for one field that the schema cannot check."""
    shown = str(value)[:200]
    return Problem(
        422,
        f"{field} = {shown}: {remedy}",
        f"{field} = {shown}：{remedy_zh}",
        errors=[{"field": field, "value": shown, "remedy": remedy}],
    )


def install(app: FastAPI) -> None:
    """Answer every kind of failure with a problem."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(DatabaseError, _database)
    app.add_exception_handler(PoolTimeout, _busy)
    app.add_exception_handler(UnicodeEncodeError, _text)
    app.add_exception_handler(RuleError, _rule)
    app.add_exception_handler(SealingError, _sealed)
    app.add_exception_handler(RoomError, _full)
    app.add_exception_handler(CityError, _city)
    app.add_exception_handler(Exception, _unexpected)


def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101  # registered for nothing else
    return error.response(request.url.path)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for nothing else
    zh = TITLES_ZH.get(error.status_code, "")
    problem = Problem(error.status_code, str(error.detail), zh, headers=error.headers)
    return problem.response(request.url.path)


def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # registered for nothing else
    faults = [_fault(fault) for fault in error.errors()[:20]]
    first = faults[0]
    secret = "password" in str(first["field"])
    value = "(hidden)" if secret else first["value"]
    problem = Problem(
        422,
        f"{first['field']} = {value}: {first['remedy']}",
        f"字段 {first['field']} 的值 {value} 不可用：{first['remedy']}",
        errors=[
            {**fault, "value": "(hidden)"} if "password" in str(fault["field"]) else fault for fault in faults
        ],
    )
    return problem.response(request.url.path)


def _fault(fault: Mapping[str, Any]) -> dict[str, object]:
    where = [str(part) for part in fault.get("loc", ()) if part not in {"body", "query", "path", "header"}]
    missing = fault.get("type") == "missing"
    return {
        "field": ".".join(where) or "body",
        "value": None if missing else str(fault.get("input"))[:200],
        "remedy": str(fault.get("msg", "")),
    }


def _rule(request: Request, error: Exception) -> Response:
    """A rule that cannot be read: the key and the remedy, so that a form can say it at the field."""
    assert isinstance(error, RuleError)  # noqa: S101  # registered for nothing else
    if not error.key:
        return _city(request, error)
    fault = {"field": error.key, "remedy": error.remedy, "remedy_zh": error.remedy_zh}
    detail_zh = f"{error.key}：{error.remedy_zh}"
    return Problem(422, str(error), detail_zh, errors=[fault]).response(request.url.path)


def _city(request: Request, error: Exception) -> Response:
    return Problem(422, str(error)).response(request.url.path)


def _full(request: Request, error: Exception) -> Response:
    """507 (RFC 4918, 11.5): the disk for photos and documents is full, the centre itself works."""
    assert isinstance(error, RoomError)  # noqa: S101  # registered for nothing else
    _log.error("no room for photos and documents")
    fault = {"field": "photos", "remedy": str(error), "remedy_zh": error.reason_zh}
    return Problem(507, str(error), error.reason_zh, errors=[fault]).response(request.url.path)


def _sealed(request: Request, error: Exception) -> Response:
    """The key is not at hand, or a row was tampered with: an operator's matter, told to nobody else in detail."""
    _log.error("what is sealed cannot be opened", error=str(error))
    problem = Problem(
        503,
        "what is sealed here cannot be opened: an operator looks into the log and at CITY_DATA_KEY_FILE",
        "加密信息无法读取，请联系管理员检查密钥文件",
    )
    return problem.response(request.url.path)


def _database(request: Request, error: Exception) -> Response:
    assert isinstance(error, DatabaseError)  # noqa: S101  # registered for nothing else
    if isinstance(error.__cause__, psycopg.DataError):
        return _unstorable().response(request.url.path)
    if isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege):
        return beyond_reach().response(request.url.path)
    # The line "answered" of the same call names the route; an address may hold a tracking number.
    _log.error("database refused", error=str(error))
    return unavailable().response(request.url.path) if error.retry else _internal().response(request.url.path)


def _text(request: Request, _error: Exception) -> Response:
    return _unstorable().response(request.url.path)


def beyond_reach() -> Problem:
    """403 for writing where the account does not reach."""
    return Problem(
        403,
        "this lies beyond the area or unit of your account; ask whoever has the whole district",
        "超出您账号的区域或单位范围，请联系全区账号的人员",
    )


def _unstorable() -> Problem:
    return Problem(
        422,
        "a value cannot be stored: a number is too large, or a text holds a NUL or half a character",
        "有内容无法保存：数字过大，或文字中含有无效字符",
    )


def _busy(request: Request, error: Exception) -> Response:
    _log.error("no database connection", error=str(error))
    return unavailable().response(request.url.path)


def _unexpected(request: Request, _error: Exception) -> Response:
    return _internal().response(request.url.path)


def unavailable() -> Problem:
    """503 while the database does not answer."""
    return Problem(
        503,
        "the database does not answer; try again in a moment",
        "数据库暂时没有响应，请稍后再试",
        headers={"Retry-After": "2"},
    )


def _internal() -> Problem:
    return Problem(500, "something went wrong here; it is in the log", "系统内部出错，详情见日志")
