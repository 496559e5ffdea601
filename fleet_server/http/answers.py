"""Bodies in, bodies out, and the one shape that every error has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, ParamSpec, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from fleet_protocol.documents.base import Document
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.errors import RoadsteadError, inert
from fleet_server.errors import (
    BadRequestError,
    NotAllowedError,
    NotFoundError,
    ServerError,
    TooLargeError,
    http_status,
)
from fleet_server.http import access
from fleet_server.services import Services
from fleet_server.store.records import AuditEntry

API_VERSION = "roadstead/v1"
JSON = "application/json"
PROBLEM = "application/problem+json"
PARTS: dict[str, Any] = {}  # schemas that bodies refer to, for /openapi.json
T = TypeVar("T")
D = TypeVar("D", bound=Document)
P = ParamSpec("P")
IMAGE_CODES = {
    400: "MANIFEST_INVALID", 401: "UNAUTHORIZED", 403: "DENIED", 404: "NAME_UNKNOWN", 413: "SIZE_INVALID",
    416: "BLOB_UPLOAD_INVALID", 429: "TOOMANYREQUESTS",
}  # fmt: skip


def services(request: Request) -> Services:
    """The server's parts."""
    found = request.app.state.services
    assert isinstance(found, Services)
    return found


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What may block (store, files, signatures) never runs in the event loop."""
    return await run_in_threadpool(function, *args, **kwargs)


async def body(request: Request, most: int) -> bytes:
    """The whole body. Raises TooLargeError as soon as it is clear, BadRequestError for a length that is none."""
    length = request.headers.get("content-length", "0")
    if not length.isdecimal():
        raise BadRequestError("Content-Length is not a number")
    if int(length) > most:
        raise TooLargeError(f"{length} bytes, at most {most} are allowed", element=request.url.path)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise TooLargeError(f"more than {most} bytes", element=request.url.path)
        parts.append(part)
    return b"".join(parts)


async def document(request: Request, kind: type[D]) -> D:
    """The body as a document of ours. Raises TooLargeError, DocumentInvalidError."""
    data = await body(request, kind.limit_bytes)
    # Large bodies (a plan for ten thousand devices) take long enough to parse to be felt by everybody else.
    return await in_thread(kind.parse, data) if len(data) > 16 * 1024 else kind.parse(data)


def takes(kind: type[Document]) -> dict[str, Any]:
    """For OpenAPI: the route's body. What the document is made of goes to PARTS."""
    schema = kind.model_json_schema(mode="validation", ref_template="#/components/schemas/{model}")
    PARTS.update(schema.pop("$defs", {}))
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema}}}}


def answer(value: Document, status: int = 200) -> Response:
    """A document as the answer."""
    return Response(full(value), status, media_type=JSON)


def full(value: Document) -> bytes:
    """A document with every field, those that are null too: readers ask for some of them by name."""
    return value.model_dump_json(by_alias=True).encode()


def listed(kind: str, items: list[bytes], *, following: str | None = None, total: int | None = None) -> Response:
    """A `Page` of documents that are bytes already; `following` is the cursor of the next one."""
    rest = strict_json.dumps({"apiVersion": API_VERSION, "kind": kind, "next": following, "total": total})
    return Response(b'{"items":[%s],%s' % (b",".join(items), rest[1:]), media_type=JSON)


def said(value: Mapping[str, Any], status: int = 200) -> Response:
    """A small answer that is no document."""
    return Response(strict_json.dumps(dict(value)), status, media_type=JSON)


def error_response(request: Request, error: RoadsteadError) -> Response:
    """The error as `Problem`; below /v2 also in the words of the OCI distribution specification."""
    status = http_status(error)
    value = problem(error, status, request.url.path)
    headers = dict(getattr(error, "headers", {}))
    if request.url.path.startswith("/v2"):
        value["errors"] = [{"code": IMAGE_CODES.get(status, "UNSUPPORTED"), "message": error.sentence()}]
    if status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="roadstead"' if request.url.path.startswith("/v2") else "Bearer"
    if status == 429:
        headers.setdefault("Retry-After", "5")
    return Response(strict_json.dumps(value), status, media_type=PROBLEM, headers=headers)


def problem(error: RoadsteadError, status: int, path: str) -> dict[str, Any]:
    """An error of ours as the fields of `Problem`."""
    said = error.as_dict()
    return {
        "type": f"urn:roadstead:error:{error.code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": said["sentence"],
        "instance": inert(path)[:600],
        "cause": said["reason"],
        "next": said["hint"],
        **{key: said[key] for key in ("code", "phase", "component", "element", "retry")},
    }


async def _record_refusal(request: Request, error: RoadsteadError) -> None:
    """An operator who may not, or whose change was refused, is written down; not so often that it is a flood."""
    caller, parts, status = getattr(request.state, "caller", None), services(request), http_status(error)
    refused = status == 403 or (status in (409, 422) and request.method != "GET" and request.url.path != "/v1/plan")
    if not refused or caller is None or caller.role is None:
        return
    if not parts.limits.refusals.allows(caller.name, parts.clock()):
        return
    detail = {"code": error.code, "cause": inert(error.reason)[:200], "element": inert(error.element)[:100]}
    what = f"{request.method} {inert(request.url.path)[:150]}"
    entry = AuditEntry(parts.now(), caller.name, "refused", what, detail, caller.origin)
    await in_thread(parts.store.record, entry)


def install_errors(app: FastAPI) -> None:
    """Every failing route answers in one shape."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, RoadsteadError)
        await _record_refusal(request, error)
        return error_response(request, error)

    async def theirs(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 404:
            return error_response(request, NotFoundError("there is no such route", element=request.url.path))
        mine = NotAllowedError(str(error.detail), element=f"{request.method} {request.url.path}")
        mine.status = error.status_code
        if error.status_code == 405:
            mine.headers = {"Allow": ", ".join(access.methods_of(request.url.path))}
        return error_response(request, mine)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return error_response(request, BadRequestError(f"{where}: {first['msg']}", element=request.url.path))

    async def unexpected(request: Request, _error: Exception) -> Response:
        return error_response(request, ServerError("a defect of the server; its log says more", retry=True))

    app.add_exception_handler(RoadsteadError, ours)
    app.add_exception_handler(HTTPException, theirs)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unexpected)
