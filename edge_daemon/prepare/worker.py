"""The unprivileged half: everything that talks to the network and judges what comes from it.

It runs as an id of its own, without capabilities, in its parent's cgroup. It can write the trust state and unfinished
downloads, and read manifests; it cannot read the device's key, the store's layers or any app's data. What it says is
checked again by the parent where that costs little: hashes, releases against the host's policy.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - used lazily by others; loaded while the interpreter's files can still be read
import hashlib
import os
import random
import socket
import stringprep  # noqa: F401 - as above
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tuf.api.serialization.json  # noqa: F401 - as above

from edge_daemon.prepare import confine
from edge_daemon.prepare.channel import Channel, error_frame, packed, unpacked
from edge_daemon.prepare.errors import FetchError, PrepareError
from edge_daemon.prepare.fetch import backoff, download
from edge_daemon.prepare.policy import Policy
from edge_daemon.prepare.store import read_blob
from edge_daemon.sealed import Identity
from fleet_protocol.trust.clock import TrustedClock
from fleet_protocol.trust.errors import NotThereError
from fleet_protocol.trust.store import TrustStore
from fleet_protocol.trust.tuf_client import TufClient
from fleet_protocol.trust.verifier import Accepted, Current, Verifier
from fleet_protocol.wire.errors import RoadsteadError
from provisioning.device.session import ServerClient, ServerRefusedError

MEMORY_BYTES = 512 << 20
REPORT_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Duty:
    """What the worker is born with; it can open none of these files itself."""

    identity: Identity
    ca_pem: str
    root: bytes
    policy: Policy
    document: bytes
    trust_db: Path
    blobs: Path
    partial: Path
    expect_trust: bool
    most_bytes: int  # of one file


def start(duty: Duty) -> tuple[int, Channel]:
    """Fork the worker. Returns its pid and the parent's end of the channel."""
    time.strptime("1970", "%Y")  # loads a module on its first use
    ours, theirs = socket.socketpair()
    parent = os.getpid()
    pid = confine.fork(lambda: _body(duty, theirs, parent))
    theirs.close()
    return pid, Channel(ours)


def _body(duty: Duty, end: socket.socket, parent: int) -> int:
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    confine.close_all_but({0, 1, 2, end.fileno()})
    os.umask(0o077)
    uid = duty.policy.prepare_uid
    confine.drop_to(uid, parent, memory_bytes=MEMORY_BYTES, file_bytes=duty.most_bytes, files=64)
    channel = Channel(end)
    try:
        _Worker(duty, channel).serve()
    except RoadsteadError as error:
        channel.send(error_frame(error))
    except MemoryError:
        channel.send(error_frame(PrepareError("the worker needs more memory than it may have", retry=True)))
    except OSError as error:
        channel.send(
            error_frame(PrepareError(f"{error.strerror or error}", element=str(error.filename or ""), retry=True))
        )
    return 0


class _Worker:
    """Serves the parent's commands one by one."""

    def __init__(self, duty: Duty, channel: Channel) -> None:
        self._duty = duty
        self._channel = channel
        self._chance = random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._store = TrustStore(duty.trust_db, expect_existing=duty.expect_trust)
        clock = TrustedClock(self._store)
        self._server = ServerClient(
            duty.identity["server_url"], duty.identity["device_id"], duty.ca_pem, self._sign, time_floor=clock.floor()
        )
        self._client = TufClient(self._store, duty.root, self._fetch, clock)
        self._verifier = Verifier(self._store, self._client, clock, duty.identity["device_id"], duty.policy)
        self._accepted: Accepted | None = None

    def serve(self) -> None:
        commands: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "verify": self._verify,
            "small": self._small,
            "layer": self._layer,
            "accept": self._accept,
            "sealed": self._sealed,
            "stops": self._stops,
        }
        while (frame := self._channel.receive()) is not None:
            self._channel.send(commands[frame["do"]](frame))

    def _verify(self, _: dict[str, Any]) -> dict[str, Any]:
        self._verifier.update_time(self._server.time_statement)
        judged = self._verifier.verify(self._duty.document)
        if isinstance(judged, Current):
            return {"current": {"generation": judged.generation, "sha256": judged.sha256}}
        self._accepted = judged
        apps = []
        for app in judged.apps:
            release = self._store.target(app.sha256)
            if release is None:
                raise PrepareError("the verified release is not in the trust state", element=app.app, retry=True)
            values = {key: packed(value) for key, value in app.values.items()}
            apps.append({"app": app.app, "release": packed(release), "values": values})
        return {"accepted": {"sha256": judged.sha256, "apps": apps}}

    def _small(self, frame: dict[str, Any]) -> dict[str, Any]:
        """A manifest or configuration, whole in memory, from the store or the server."""
        digest, size, repository = frame["digest"], frame["size"], f"apps/{frame['app']}"
        data = read_blob(self._duty.blobs, digest)
        if data is None:
            data = self._patiently(lambda: self._ask_small(frame["kind"], repository, digest, size))
        if len(data) != size or f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            raise FetchError("its bytes are not those that were signed", element=digest[:19])
        return {"data": packed(data)}

    def _ask_small(self, kind: str, repository: str, digest: str, size: int) -> bytes:
        if kind == "manifest":
            return self._server.get_manifest(repository, digest, size)
        with self._server.open_blob(repository, digest) as stream:
            out = b""
            while data := stream.read(size + 1 - len(out)):
                out += data
                if len(out) > size:
                    raise FetchError(f"the server sends more than the {size} bytes signed", element=digest[:19])
            return out

    def _layer(self, frame: dict[str, Any]) -> dict[str, Any]:
        digest, repository = frame["digest"], f"apps/{frame['app']}"
        download(
            lambda offset: self._server.open_blob(repository, digest, offset),
            self._duty.partial / digest.removeprefix("sha256:"),
            digest,
            frame["size"],
            report=self._reporter(digest),
            pause=self._pause,
        )
        return {"stored": digest}

    def _accept(self, _: dict[str, Any]) -> dict[str, Any]:
        self._verifier.accept(self._judged())
        return {"ok": True}

    def _sealed(self, _: dict[str, Any]) -> dict[str, Any]:
        self._verifier.sealed(self._judged())
        return {"ok": True}

    def _stops(self, _: dict[str, Any]) -> dict[str, Any]:
        self._verifier.update_time(self._server.time_statement)
        found = self._verifier.stops()
        stops = [{"app": s.app, "release": s.release, "reason": s.reason} for s in found.releases]
        return {"stops": stops, "unread": list(found.unread)}

    def _judged(self) -> Accepted:
        if self._accepted is None:
            raise PrepareError("nothing was verified")
        return self._accepted

    def _sign(self, message: bytes) -> bytes:
        self._channel.send({"sign": packed(message)})
        frame = self._channel.receive()
        if frame is None:
            raise PrepareError("the privileged half is gone", retry=True)
        return unpacked(frame["signature"])

    def _fetch(self, kind: str, name: str, max_bytes: int) -> bytes:
        ask = {
            "metadata": self._server.get_metadata,
            "target": self._server.get_target,
            "value": self._server.get_value,
        }
        try:
            return self._patiently(lambda: ask[kind](name, max_bytes))
        except ServerRefusedError as error:
            if error.status == 404:
                raise NotThereError(error.reason, element=name) from error
            raise

    def _patiently(self, ask: Callable[[], bytes]) -> bytes:
        """Small answers get three tries."""
        for failures in (1, 2):
            try:
                return ask()
            except RoadsteadError as error:
                if not error.retry:
                    raise
                self._pause(failures)
        return ask()

    def _pause(self, failures: int) -> None:
        time.sleep(backoff(failures, chance=self._chance.random()))

    def _reporter(self, digest: str) -> Callable[[int], None]:
        last = 0.0

        def report(count: int) -> None:
            nonlocal last
            if time.monotonic() - last >= REPORT_EVERY_S:
                last = time.monotonic()
                self._channel.send({"bytes": count, "of": digest})

        return report
