"""Manifests held in memory, images made by hand, and a small real registry on 127.0.0.1."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import json
import ssl
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fleet_protocol.wire.strict_json import dumps
from fleet_release.compose.load import TextFiles
from fleet_release.images.documents import OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST
from fleet_release.lint import LintReport, lint

APP = "apiVersion: roadstead/v1\nkind: App\nname: cam\nversion: 1.9.0\n"
FLEET = "apiVersion: roadstead/v1\nkind: Fleet\nname: cams\n"
PASSWORD = "open sesame"


def lint_files(texts: Mapping[str, str], environment: Mapping[str, str] | None = None, *only: str) -> LintReport:
    """Lint of texts held in memory: app.yaml, or what is named."""
    return lint(only or ["app.yaml"], TextFiles(texts), environment or {})


def lint_service(
    body: str,
    app: str = "",
    rest: str = "",
    *,
    environment: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
) -> LintReport:
    """One service `gw` with an image and `body`, in an app."""
    lines = "".join(f"    {line}\n" for line in body.strip("\n").split("\n"))
    compose = f"services:\n  gw:\n    image: registry.test/gw:1\n{lines}{rest}"
    return lint_files({"app.yaml": APP + app, "compose.yaml": compose, **(files or {})}, environment)


def service_of(report: LintReport, name: str = "gw") -> dict[str, Any]:
    """The compiled fields of one service; fails with every error when there is none."""
    assert not report.errors, [e.render() for e in report.errors]
    draft = report.apps[0].draft
    assert draft is not None
    return next(s.fields for s in draft.services if s.name == name)


def said(report: LintReport) -> list[tuple[str, str]]:
    """(code, message) of the errors."""
    return [(e.code, e.message) for e in report.errors]


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def tar_of(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@dataclass
class HandMade:
    """One image whose every document can be changed before it is written."""

    files: Mapping[str, bytes] = field(default_factory=lambda: {"hello": b"hello world"})
    architecture: str = "amd64"
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tar = tar_of(self.files)
        layer = self.add(gzip.compress(tar, mtime=0), OCI_LAYER_GZIP)
        config = {"os": "linux", "architecture": self.architecture}
        config_bytes = dumps({**config, "rootfs": {"type": "layers", "diff_ids": [digest(tar)]}})
        self.manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self.add(config_bytes, OCI_CONFIG),
            "layers": [layer],
        }

    def add(self, data: bytes, media_type: str) -> dict[str, Any]:
        self.blobs[digest(data)] = data
        return {"mediaType": media_type, "digest": digest(data), "size": len(data)}

    def layout(self, folder: Path, root: dict[str, Any] | None = None) -> Path:
        """Write an OCI layout whose index names `root`, the manifest if nothing else."""
        entry = root or self.add(dumps(self.manifest), OCI_MANIFEST)
        blobs = folder / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        for name, data in self.blobs.items():
            (blobs / name.removeprefix("sha256:")).write_bytes(data)
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
        (folder / "index.json").write_text(json.dumps(index))
        return folder


class Registry(http.server.ThreadingHTTPServer):
    """OCI distribution, as much as clients here use. Records every request with its headers."""

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}  # (repository, reference)
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.token = ""  # when set, requests need it
        self.realm = ""
        self.redirect_blobs_to = ""
        self.break_uploads = 0  # connections to cut in the middle
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.scheme = "https" if tls else "http"

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def serve(self, image: HandMade, repository: str, tag: str) -> str:
        data = dumps(image.manifest)
        self.blobs |= image.blobs
        for name in (tag, digest(data)):
            self.manifests[repository, name] = (OCI_MANIFEST, data)
        return digest(data)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in a test is no news."""


@contextmanager
def registry(tls: ssl.SSLContext | None = None) -> Iterator[Registry]:
    server = Registry(tls)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Registry

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def answer(self, status: int, data: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def note(self) -> bool:
        """Record; False when the answer was a challenge."""
        self.server.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        wanted = self.server.token
        if wanted and self.headers.get("Authorization") != f"Bearer {wanted}" and not self.path.startswith("/token"):
            realm = self.server.realm or f"{self.server.url}/token"
            self.answer(401, WWW_Authenticate=f'Bearer realm="{realm}",service="registry"')
            return False
        return True

    def do_GET(self) -> None:
        if not self.note():
            return
        path = urlsplit(self.path).path
        if path == "/token":
            self.answer(200, dumps({"token": self.server.token}))
        elif path == "/v2/":
            self.answer(200, b"{}")
        elif "/blobs/" in path and (data := self.server.blobs.get(path.rpartition("/")[2])) is not None:
            if self.server.redirect_blobs_to:
                self.answer(307, Location=self.server.redirect_blobs_to + path)
            else:
                self.answer(200, data, Content_Type="application/octet-stream")
        elif "/manifests/" in path:
            repository, _, reference = path.removeprefix("/v2/").partition("/manifests/")
            found = self.server.manifests.get((repository, reference))
            if found:
                self.answer(200, found[1], Content_Type=found[0], Docker_Content_Digest=digest(found[1]))
            else:
                self.answer(404)
        else:
            self.answer(404)

    do_HEAD = do_GET  # noqa: N815  the standard library's name

    def do_POST(self) -> None:
        if self.note():
            self.answer(202, Location=f"{urlsplit(self.path).path}a-session")

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            out = b""
            while size := int(self.rfile.readline(), 16):
                out += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return out
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def do_PATCH(self) -> None:
        self.server.blobs["draft"] = self.body()
        self.answer(202, Location=urlsplit(self.path).path, Range="0-0")

    def do_PUT(self) -> None:
        if self.server.break_uploads and "/uploads/" in self.path:
            self.server.break_uploads -= 1
            self.close_connection = True
            self.connection.close()
            return
        data = self.body()
        if not self.note():
            return
        parts = urlsplit(self.path)
        if "/manifests/" in parts.path:
            repository, _, reference = parts.path.removeprefix("/v2/").partition("/manifests/")
            kind = self.headers.get("Content-Type", "")
            for name in (reference, digest(data)):
                self.server.manifests[repository, name] = (kind, data)
            self.answer(201, Docker_Content_Digest=digest(data))
            return
        data = data or self.server.blobs.pop("draft", b"")
        wanted = parse_qs(parts.query)["digest"][0]
        if digest(data) != wanted:
            self.answer(400, dumps({"errors": [{"code": "DIGEST_INVALID", "message": "other bytes"}]}))
            return
        self.server.blobs[wanted] = data
        self.answer(201, Docker_Content_Digest=wanted)


WHOLE_FLEET = """apiVersion: roadstead/v1
kind: Fleet
name: cam-eu
select:  {role: camera, region: eu}
run:     [cam@1.9.0]
config:  {cam: {GW_SITE: "{label.site}", PORT: 1.10, ON: true}}
settings: {reportEvery: 30s, imagesQuota: 2Gi}
contact: {every: 5m, overdue: 3x, satellite: {match: {link: sat}, every: 6h}}
window:  {cron: "0 22 * * *", for: 6h, timezone: device, canaryAnytime: true}
rollout:
  waves: [{name: canary, devices: 5}, {select: {site: lab}}, {upTo: 50%}, {upTo: 90%}, rest]
  soak: 10m
  maxUnavailable: {per: site, devices: 1}
  stopAt: 2%
  onFail: revert
  gates:
    - healthy >= 98%
    - restartsPerHour < 0.1
    - metric: {app: gw, name: http_p95_ms, max: 45}
"""
