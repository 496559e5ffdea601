"""The OCI distribution API below /v2, for repositories `apps/<app>`: devices pull, operators push.

Blobs are shared by all repositories: who may read one may read all. Manifests belong to one. Uploads are monolithic or
chunked; a blob or manifest is there for others only after its digest was checked and it is durable.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import FileResponse

from fleet_protocol.wire.bounds import DIGEST_PATTERN, MAX_MANIFEST_BYTES, NAME_PATTERN, matches
from fleet_server.blobs import Upload
from fleet_server.errors import BadRequestError, NotFoundError, RangeError
from fleet_server.http.answers import body, in_thread, said, services
from fleet_server.http.gate import Asker, FleetRoute
from fleet_server.manifests import read_manifest
from fleet_server.services import Services
from fleet_server.store.records import ManifestRow

CHUNK = 1 << 20
TAG_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
OPEN_RANGE = re.compile(r"bytes=([0-9]{1,16})-[0-9]*")
CONTENT_RANGE = re.compile(r"(?:bytes )?([0-9]{1,16})-[0-9]{1,16}(?:/.*)?")
App = Annotated[str, Path(pattern=rf"^(?:{NAME_PATTERN})$")]
EMPTY: dict[int | str, dict[str, Any]] = {201: {"description": "Created"}, 202: {"description": "Accepted"}}
BYTES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}},
    206: {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}, "description": "A part"},
}
router = APIRouter(tags=["images"], route_class=FleetRoute)


@router.get("/v2/")
@router.head("/v2/", include_in_schema=False)
@router.get("/v2", include_in_schema=False)
@router.head("/v2", include_in_schema=False)
async def version() -> Response:
    """That this is a registry."""
    answer = said({})
    answer.headers["Docker-Distribution-API-Version"] = "registry/2.0"
    return answer


# --- reading


@router.get("/v2/apps/{app}/blobs/{digest}", responses=BYTES, response_class=Response)
@router.head("/v2/apps/{app}/blobs/{digest}", include_in_schema=False)
async def blob(request: Request, app: App, digest: str) -> Response:
    """A blob, whole or a range of it."""
    blobs = services(request).blobs
    path = blobs.path(digest)
    size = await in_thread(blobs.size, digest)
    if size is None:
        raise NotFoundError("there is no such blob", element=f"apps/{app} {digest}")
    asked = OPEN_RANGE.fullmatch(request.headers.get("range", ""))
    if asked and int(asked[1]) >= size:
        error = RangeError(f"the blob has {size} bytes", element=digest)
        error.headers = {"Content-Range": f"bytes */{size}"}
        raise error
    told = {"Docker-Content-Digest": digest, "ETag": f'"{digest}"'}
    return FileResponse(path, headers=told, media_type="application/octet-stream", stat_result=path.stat())


@router.get("/v2/apps/{app}/manifests/{reference}", responses=BYTES, response_class=Response)
@router.head("/v2/apps/{app}/manifests/{reference}", include_in_schema=False)
async def manifest(request: Request, app: App, reference: str) -> Response:
    """A manifest by digest or tag."""
    row, data = await in_thread(_manifest, services(request), app, reference)
    told = {"Docker-Content-Digest": row.digest, "ETag": f'"{row.digest}"', "Content-Length": str(row.size)}
    return Response(b"" if request.method == "HEAD" else data, headers=told, media_type=row.media_type)


def _manifest(parts: Services, app: str, reference: str) -> tuple[ManifestRow, bytes]:
    row = parts.store.manifest(app, reference)
    if row is None:
        raise NotFoundError("there is no such manifest", element=f"apps/{app}:{reference[:80]}")
    return row, parts.blobs.read(row.digest)


@router.get("/v2/apps/{app}/tags/list")
async def tags(request: Request, app: App) -> Response:
    """Tags of one repository."""
    return said({"name": f"apps/{app}", "tags": await in_thread(services(request).store.tags, app)})


# --- writing


@router.post("/v2/apps/{app}/blobs/uploads/", status_code=202, responses=EMPTY, response_class=Response)
@router.post("/v2/apps/{app}/blobs/uploads", include_in_schema=False)
async def begin(
    request: Request, app: App, caller: Asker, digest: str | None = None, mount: str | None = None
) -> Response:
    """A new upload; done at once where the bytes come along, or are there already (`mount`)."""
    blobs = services(request).blobs
    if mount is not None and matches(DIGEST_PATTERN, mount) and await in_thread(blobs.size, mount) is not None:
        return _created(app, mount)
    upload = blobs.begin(caller.name)
    if digest is None:
        return _accepted(app, upload)
    await _append(request, upload)
    return await _finish(request, app, upload, digest, caller.name)


@router.patch("/v2/apps/{app}/blobs/uploads/{ident}", status_code=202, responses=EMPTY, response_class=Response)
async def append(request: Request, app: App, ident: str, caller: Asker) -> Response:
    """More bytes, which must follow those that are there."""
    upload = services(request).blobs.upload(ident, caller.name)
    _check_follows(request, app, upload)
    await _append(request, upload)
    return _accepted(app, upload)


@router.put("/v2/apps/{app}/blobs/uploads/{ident}", status_code=202, responses=EMPTY, response_class=Response)
async def complete(request: Request, app: App, ident: str, digest: str, caller: Asker) -> Response:
    """The last bytes, if any, and the digest of all."""
    upload = services(request).blobs.upload(ident, caller.name)
    _check_follows(request, app, upload)
    await _append(request, upload)
    return await _finish(request, app, upload, digest, caller.name)


@router.get("/v2/apps/{app}/blobs/uploads/{ident}", status_code=204, response_class=Response)
async def progress(request: Request, app: App, ident: str, caller: Asker) -> Response:
    """How far an upload is."""
    answer = _accepted(app, services(request).blobs.upload(ident, caller.name))
    answer.status_code = 204
    return answer


@router.delete("/v2/apps/{app}/blobs/uploads/{ident}", status_code=204)
async def cancel(request: Request, app: App, ident: str, caller: Asker) -> Response:  # noqa: ARG001 (part of the path)
    """Forget an upload."""
    blobs = services(request).blobs
    blobs.drop(blobs.upload(ident, caller.name))
    return Response(status_code=204)


@router.put("/v2/apps/{app}/manifests/{reference}", status_code=202, responses=EMPTY, response_class=Response)
async def put_manifest(request: Request, app: App, reference: str, caller: Asker) -> Response:
    """A manifest or index whose parts are there, by digest or tag."""
    data = await body(request, MAX_MANIFEST_BYTES)
    kind = request.headers.get("content-type", "")
    row = await in_thread(_put_manifest, services(request), app, reference, data, kind, caller.name)
    told = {"Location": f"/v2/apps/{app}/manifests/{row.digest}", "Docker-Content-Digest": row.digest}
    return Response(status_code=201, headers=told)


def _put_manifest(parts: Services, app: str, reference: str, data: bytes, kind: str, who: str) -> ManifestRow:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    tag = None if ":" in reference else reference
    if tag is None and reference != digest:
        raise BadRequestError(f"the bytes have digest {digest}", element=reference[:80])
    if tag is not None and not matches(TAG_PATTERN, tag):
        raise BadRequestError("not a tag", element=tag[:80])
    read = read_manifest(data, kind)
    for part in read.blobs:
        if parts.blobs.size(part) is None:
            raise BadRequestError(f"names blob {part}, which was not pushed", element=f"apps/{app}:{reference}")
    for part in read.manifests:
        if parts.store.manifest(app, part) is None:
            raise BadRequestError(f"names manifest {part}, which was not pushed", element=f"apps/{app}:{reference}")
    parts.blobs.put(digest, data)
    row = ManifestRow(app, digest, read.media_type, len(data))
    with parts.store.transaction():
        parts.store.put_manifest(row, tag)
        parts.record(who, "push", f"apps/{app}", digest=digest, tag=tag or "")
    return row


# --- uploads


async def _append(request: Request, upload: Upload) -> None:
    """All of the body; what came before a broken connection stays, and the client may go on from there."""
    upload.busy = True
    waiting = bytearray()
    try:
        async for part in request.stream():
            waiting += part
            if len(waiting) >= CHUNK:
                await in_thread(upload.write, bytes(waiting))
                waiting.clear()
        if waiting:
            await in_thread(upload.write, bytes(waiting))
    finally:
        upload.busy = False


async def _finish(request: Request, app: str, upload: Upload, digest: str, who: str) -> Response:
    parts = services(request)
    upload.busy = True
    size = upload.size
    await in_thread(parts.blobs.finish, upload, digest)
    await in_thread(parts.record, who, "push blob", f"apps/{app}", digest=digest, bytes=size)
    return _created(app, digest)


def _check_follows(request: Request, app: str, upload: Upload) -> None:
    said_range = request.headers.get("content-range")
    if said_range is None:
        return
    found = CONTENT_RANGE.fullmatch(said_range)
    if found is None or int(found[1]) != upload.size:
        error = RangeError(f"{upload.size} bytes are there, and the next must follow them", element=upload.ident)
        error.headers = dict(_accepted(app, upload).headers)
        error.headers.pop("content-length", None)
        raise error


def _accepted(app: str, upload: Upload) -> Response:
    told = {
        "Location": f"/v2/apps/{app}/blobs/uploads/{upload.ident}",
        "Range": f"0-{max(upload.size - 1, 0)}",
        "Docker-Upload-UUID": upload.ident,
    }
    return Response(status_code=202, headers=told)


def _created(app: str, digest: str) -> Response:
    told = {"Location": f"/v2/apps/{app}/blobs/{digest}", "Docker-Content-Digest": digest}
    return Response(status_code=201, headers=told)
