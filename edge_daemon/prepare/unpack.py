"""One downloaded blob into the image store: the parent's half, which hashes, and the child's, which has no power.

The parent reads the blob once, hashing it, into a pipe; the child decompresses, reads the tar and writes files, as root
of a user namespace of its own (so files get shifted owners), with three capabilities there and the layer's directory as
its root. Nothing is reachable under the layer's name before digest, size and diff ID have held and all is on disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import select
import shutil
import signal
import time
from pathlib import Path
from typing import NamedTuple, Self

from edge_daemon.prepare import confine
from edge_daemon.prepare.decompress import CHUNK, LayerStream
from edge_daemon.prepare.errors import UnpackError
from edge_daemon.prepare.extract import Extracted, extract
from edge_daemon.prepare.manifest import Layer
from edge_daemon.prepare.store import ImageStore
from fleet_protocol.wire.errors import RoadsteadError

MEMORY_BYTES = 192 << 20  # beyond what the process has mapped: a 32 MiB zstd window, headers, and room for Python
MAX_RESULT_BYTES = 64 << 20
STREAM_SLACK_BYTES = 64 << 20  # headers and padding beside the files' own bytes
CAPABILITIES = (0, 1, 3)  # CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER
OPAQUE_ATTRIBUTE = "trusted.overlay.opaque"


def unpack_layer(layer: Layer, blob: Path, store: ImageStore, *, most_bytes: int, uid_base: int) -> None:
    """Leave the layer in the store, or raise UnpackError and leave nothing. `blob` may be changed by others meanwhile:
    what is hashed is exactly what the child was given."""
    target = store.draft_layer(layer.diff_id)
    try:
        os.chown(target, uid_base, uid_base)
        deadline = time.monotonic() + 120 + most_bytes / 250_000
        done = _run(layer, blob, target, most_bytes=most_bytes, uid_base=uid_base, deadline=deadline)
        if done.diff_id != layer.diff_id:
            raise UnpackError(f"its content has the diff ID {done.diff_id[:12]}, the image says {layer.diff_id[:12]}")
        _mark_opaque(target, done.opaque)
        store.keep_layer(layer.diff_id, target, file_bytes=done.file_bytes)
    except BaseException as error:
        shutil.rmtree(target, ignore_errors=True)
        if isinstance(error, RoadsteadError) and not error.element:
            error.element = f"layer {layer.blob.digest[:19]}"
        raise


def _run(layer: Layer, blob: Path, target: Path, *, most_bytes: int, uid_base: int, deadline: float) -> Extracted:
    with _Pipe() as feed, _Pipe() as result, _Pipe() as ready, _Pipe() as mapped:
        parent = os.getpid()
        ends = _ChildEnds(feed.out, result.into, ready.into, mapped.out)
        child = confine.fork(lambda: _child(layer, target, most_bytes, parent, ends))
        try:
            for pipe in (feed, mapped):
                pipe.close_out()
            for pipe in (result, ready):
                pipe.close_into()
            if not os.read(ready.out, 1):
                raise UnpackError(
                    "this host cannot make the namespaces that unpacking needs", hint="see edge-daemon doctor"
                )
            confine.write_id_maps(child, uid_base)
            os.write(mapped.into, b"x")
            digest, size = _feed(blob, feed.into, layer.blob.size, deadline)
            feed.close_into()
            answer = _read_all(result.out, deadline)
        except BaseException:
            os.kill(child, signal.SIGKILL)
            raise
        finally:
            _, status = os.waitpid(child, 0)
    if (digest, size) != (layer.blob.hex, layer.blob.size) and not _told(answer):
        raise UnpackError("its bytes are not those that were signed", retry=True)
    return _result(answer, status)


def _told(answer: bytes) -> bool:
    """Whether the child said why it stopped: then it stopped reading, and the hash covers only a part."""
    return b'"failed"' in answer[:16]


def _feed(blob: Path, pipe: int, size: int, deadline: float) -> tuple[str, int]:
    """Copy at most `size` bytes and one more of `blob` into the pipe; the digest and count of what went in."""
    os.set_blocking(pipe, False)
    poller = select.poll()
    poller.register(pipe, select.POLLOUT)
    digest, count = hashlib.sha256(), 0
    with blob.open("rb", buffering=0) as file:
        while chunk := file.read(min(CHUNK, size + 1 - count)):
            digest.update(chunk)
            count += len(chunk)
            left = memoryview(chunk)
            while left:
                if not poller.poll(1000):
                    _check(deadline)
                    continue
                try:
                    left = left[os.write(pipe, left) :]
                except BlockingIOError:
                    continue
                except BrokenPipeError:
                    return "", count
    return digest.hexdigest(), count


def _read_all(pipe: int, deadline: float) -> bytes:
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    out = bytearray()
    while True:
        if not poller.poll(1000):
            _check(deadline)
            continue
        chunk = os.read(pipe, CHUNK)
        if not chunk:
            return bytes(out)
        out += chunk
        if len(out) > MAX_RESULT_BYTES:
            raise UnpackError("more opaque directories than can be")


def _check(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise UnpackError("took too long")


def _result(answer: bytes, status: int) -> Extracted:
    try:
        fields = json.loads(answer)
    except ValueError as error:
        how = f"was ended by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "ended without a word"
        raise UnpackError(f"the unpacker {how}") from error
    if "failed" in fields:
        raise UnpackError(str(fields["failed"])[:400])
    return Extracted(str(fields["diff_id"]), int(fields["file_bytes"]), int(fields["entries"]), list(fields["opaque"]))


def _child(layer: Layer, target: Path, most: int, parent: int, ends: _ChildEnds) -> int:
    """What follows has none of the host's power. Whatever it needs was imported before the root changed."""
    try:
        root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        confine.close_all_but({*ends, root})
        confine.bound(memory_bytes=MEMORY_BYTES, file_bytes=most + 1, files=64, processes=1)
        resource.setrlimit(resource.RLIMIT_CPU, (3600, 3600))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

        def maps_written() -> None:
            os.write(ends.ready, b"x")
            os.read(ends.mapped, 1)

        confine.own_user_namespace(maps_written, parent)
        os.umask(0)
        os.fchdir(root)
        os.chroot(".")
        confine.keep_capabilities(CAPABILITIES)
        stream = LayerStream(
            lambda count: os.read(ends.feed, count), layer.compression, most_bytes=2 * most + STREAM_SLACK_BYTES
        )
        answer: dict[str, object] = extract(stream, root, most_bytes=most)._asdict()
    except UnpackError as error:
        answer = {"failed": error.reason}
    except MemoryError:
        answer = {"failed": "needs more memory than an unpacker may have"}
    except OSError as error:
        answer = {"failed": f"{error.strerror or error}"}
    with os.fdopen(ends.result, "wb") as out:
        out.write(json.dumps(answer).encode())
    return 0


def _mark_opaque(target: Path, paths: list[str]) -> None:
    """The names come from the child, so every component is opened without following links."""
    for path in paths:
        handle = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            for part in path.split("/"):
                if part in ("", ".", ".."):
                    raise UnpackError("named an opaque directory outside of the layer")
                below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)
                os.close(handle)
                handle = below
            os.setxattr(handle, OPAQUE_ATTRIBUTE, b"y")
        finally:
            os.close(handle)


class _ChildEnds(NamedTuple):
    """The child's ends of the four pipes."""

    feed: int
    result: int
    ready: int
    mapped: int


class _Pipe:
    """A pipe whose ends are each closed once."""

    def __init__(self) -> None:
        self.out, self.into = os.pipe()

    def close_out(self) -> None:
        if self.out >= 0:
            os.close(self.out)
        self.out = -1

    def close_into(self) -> None:
        if self.into >= 0:
            os.close(self.into)
        self.into = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_out()
        self.close_into()
