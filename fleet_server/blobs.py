"""Image blobs by digest: `blobs/sha256/<hex>`, each stored once whichever app pushed it.

An upload grows in `blobs/uploads/` and is hashed on the way; it becomes a blob in one durable rename, and only if its
digest is the one that was named. Uploads end with the process, or after an hour without a byte.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from pathlib import Path

from fleet_protocol.wire.bounds import DIGEST_PATTERN, matches
from fleet_protocol.wire.durable import rename_durably, replace_durably, sync_directory
from fleet_server.errors import BadRequestError, NotFoundError, RangeError, ServerError, TooLargeError

MAX_BLOB_BYTES = 16 << 30
MAX_UPLOADS = 256
IDLE_S = 3600.0
LEAVE_FREE_BYTES = 256 << 20


class NoRoomError(ServerError):
    """The disk is nearly full."""

    phase = "storing an image"
    code = "E0950"
    status = 507


class Upload:
    """One blob on its way in. Not for use by two requests at once: `busy` says whether one has it."""

    def __init__(self, ident: str, path: Path, owner: str) -> None:
        self.ident, self.path, self.owner = ident, path, owner
        self.size = 0
        self.busy = False
        self.touched = time.monotonic()
        self._hash = hashlib.sha256()
        self._file = path.open("xb", buffering=0)

    def write(self, data: bytes) -> None:
        """Append. Raises TooLargeError, NoRoomError."""
        if self.size + len(data) > MAX_BLOB_BYTES:
            raise TooLargeError(f"a blob has at most {MAX_BLOB_BYTES} bytes", element="upload")
        if shutil.disk_usage(self.path.parent).free < LEAVE_FREE_BYTES + len(data):
            raise NoRoomError("the server's disk is full", retry=True)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._hash.update(data)
        self.size += len(data)
        self.touched = time.monotonic()

    def seal(self) -> str:
        """Make what was written durable; its digest."""
        os.fsync(self._file.fileno())
        self._file.close()
        return f"sha256:{self._hash.hexdigest()}"

    def drop(self) -> None:
        """Forget it."""
        self._file.close()
        self.path.unlink(missing_ok=True)


class BlobStore:
    """Blobs below one directory. The asyncio thread owns the table of uploads; writing may happen in others."""

    def __init__(self, directory: Path) -> None:
        """Makes the directories; what uploads a former process left is removed."""
        self._blobs = directory / "sha256"
        self._uploads_dir = directory / "uploads"
        shutil.rmtree(self._uploads_dir, ignore_errors=True)
        for folder in (self._blobs, self._uploads_dir):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._uploads: dict[str, Upload] = {}

    def path(self, digest: str) -> Path:
        """Where a blob lies, or would. Raises BadRequestError for what is no digest of ours."""
        if not matches(DIGEST_PATTERN, digest):
            raise BadRequestError("not a sha256 digest", element=digest[:80])
        return self._blobs / digest.removeprefix("sha256:")

    def size(self, digest: str) -> int | None:
        """A blob's size, or None if there is none."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, digest: str) -> bytes:
        """A small blob. Raises NotFoundError."""
        try:
            return self.path(digest).read_bytes()
        except FileNotFoundError as error:
            raise NotFoundError("there is no such blob", element=digest) from error

    def put(self, digest: str, data: bytes) -> None:
        """Keep bytes that are at hand, whose digest the caller has computed."""
        if self.size(digest) is None:
            replace_durably(self.path(digest), data)

    def begin(self, owner: str) -> Upload:
        """A new upload. Raises NoRoomError when there are too many."""
        self._expire()
        if len(self._uploads) >= MAX_UPLOADS:
            raise NoRoomError("too many uploads at once", retry=True)
        ident = secrets.token_hex(16)
        upload = self._uploads[ident] = Upload(ident, self._uploads_dir / ident, owner)
        return upload

    def upload(self, ident: str, owner: str) -> Upload:
        """An upload under way. Raises NotFoundError, RangeError if another request is writing to it."""
        upload = self._uploads.get(ident)
        if upload is None or upload.owner != owner:
            raise NotFoundError("there is no such upload", element=ident[:40])
        if upload.busy:
            raise RangeError("another request is writing to this upload", element=ident, retry=True)
        return upload

    def finish(self, upload: Upload, digest: str) -> None:
        """The upload becomes a blob. Raises BadRequestError if it is another than named; it is gone then."""
        target = self.path(digest)
        try:
            found = upload.seal()
            if found != digest:
                raise BadRequestError(f"the bytes have digest {found}", element=digest)
            rename_durably(upload.path, target)
        finally:
            self.drop(upload)
        sync_directory(self._blobs)

    def drop(self, upload: Upload) -> None:
        """Forget an upload."""
        self._uploads.pop(upload.ident, None)
        upload.drop()

    def _expire(self) -> None:
        now = time.monotonic()
        for upload in [u for u in self._uploads.values() if not u.busy and now - u.touched > IDLE_S]:
            self.drop(upload)
