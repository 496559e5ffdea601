"""Frames of JSON over a socket pair, between the privileged parent and its worker."""

from __future__ import annotations

import base64
import json
import socket
import struct
from typing import Any

from edge_daemon.prepare.errors import PrepareError
from fleet_protocol.wire.errors import Exit, RoadsteadError

MAX_FRAME = 64 << 20
_LENGTH = struct.Struct("!I")


class RelayedError(RoadsteadError):
    """An error of the worker, word for word."""

    def __init__(self, fields: dict[str, Any]) -> None:
        super().__init__(
            str(fields.get("reason", "")),
            element=str(fields.get("element", "")),
            retry=fields.get("retry") is True,
            hint=str(fields.get("hint", "")),
        )
        self.phase = str(fields.get("phase", "preparing"))
        self.component = str(fields.get("component", "prepare"))
        self.code = str(fields.get("code", "E0400"))
        known = {int(e): e for e in Exit}
        self.exit_status = known.get(fields.get("exit", 1), Exit.OTHER)


def error_frame(error: RoadsteadError) -> dict[str, Any]:
    """What RelayedError is made of."""
    return {"refused": {**error.as_dict(), "exit": int(error.exit_status)}}


class Channel:
    """One end."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def send(self, frame: dict[str, Any]) -> None:
        """Raises PrepareError when the frame is too large or nobody is there."""
        data = json.dumps(frame).encode()
        if len(data) > MAX_FRAME:
            raise PrepareError(f"{len(data)} bytes of releases and values at once, at most {MAX_FRAME} are allowed")
        try:
            self._end.sendall(_LENGTH.pack(len(data)) + data)
        except OSError as error:
            raise PrepareError("the other half is gone", retry=True) from error

    def receive(self) -> dict[str, Any] | None:
        """The next frame, None when the other side has gone."""
        head = self._exactly(_LENGTH.size)
        if head is None:
            return None
        (length,) = _LENGTH.unpack(head)
        if length > MAX_FRAME:
            raise PrepareError("the other half sent too much")
        data = self._exactly(length)
        if data is None:
            return None
        frame = json.loads(data)
        if not isinstance(frame, dict):
            raise PrepareError("the other half sent what is no message")
        return frame

    def close(self) -> None:
        """Hang up."""
        self._end.close()

    def _exactly(self, count: int) -> bytes | None:
        out = bytearray()
        while len(out) < count:
            try:
                chunk = self._end.recv(min(count - len(out), 1 << 20))
            except ConnectionResetError:  # it ended without having read all that was sent to it
                return None
            if not chunk:
                return None
            out += chunk
        return bytes(out)


def packed(data: bytes) -> str:
    """Bytes inside a frame."""
    return base64.b64encode(data).decode()


def unpacked(text: Any) -> bytes:
    """The reverse. Raises PrepareError for what is no base64 text."""
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, TypeError) as error:
        raise PrepareError("the other half sent what is no data") from error
