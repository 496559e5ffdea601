"""The parent's side of its worker: commands, answers, and the one favour that the worker may ask, a signature."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any, Self

from edge_daemon.prepare.channel import RelayedError, packed, unpacked
from edge_daemon.prepare.errors import PrepareError
from edge_daemon.prepare.worker import Duty, start
from fleet_protocol.wire.errors import TrustError
from provisioning.proof import session_message

MAX_SIGNATURES = 50  # one session an hour at most; a worker that wants more is not ours any more
NONCE_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


class Helper:
    """A worker under way."""

    def __init__(self, duty: Duty, sign: Callable[[bytes], bytes]) -> None:
        self._device_id = duty.identity["device_id"]
        self._sign_with = sign
        self._signed = 0
        self.on_bytes: Callable[[str, int], None] = lambda _digest, _count: None
        self._pid, self._channel = start(duty)

    def call(self, do: str, **fields: Any) -> dict[str, Any]:
        """One command and its answer. Raises RelayedError with what the worker raised."""
        self.send(do, **fields)
        return self.answer()

    def send(self, do: str, **fields: Any) -> None:
        """A command whose answer is taken later; answers come in the order of commands."""
        self._channel.send({"do": do, **fields})

    def answer(self) -> dict[str, Any]:
        """The next answer; requests for signatures and progress in between are served here."""
        while True:
            frame = self._channel.receive()
            if frame is None:
                raise PrepareError(f"its worker {self._end()}", retry=True)
            if "sign" in frame:
                self._channel.send({"signature": packed(self._sign(unpacked(frame["sign"])))})
            elif "bytes" in frame:
                self.on_bytes(str(frame["of"]), int(frame["bytes"]))
            elif "refused" in frame:
                raise RelayedError(frame["refused"])
            else:
                return frame

    def close(self) -> None:
        """End it, whatever it is doing; its state is durable at every moment."""
        self._channel.close()
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _sign(self, message: bytes) -> bytes:
        check_session_message(message, self._device_id)
        self._signed += 1
        if self._signed > MAX_SIGNATURES:
            raise TrustError("the worker asks for too many signatures", element="device key")
        return self._sign_with(message)

    def _end(self) -> str:
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        if os.WIFSIGNALED(status):
            return f"was ended by signal {os.WTERMSIG(status)} (9 often means: out of memory)"
        return f"ended with status {os.waitstatus_to_exitcode(status)} and without a word"


def check_session_message(message: bytes, device_id: str) -> None:
    """The device's key signs its own sessions and nothing else. Raises TrustError."""
    prefix = session_message(device_id, "")
    nonce = message.removeprefix(prefix)
    fits = message.startswith(prefix) and 22 <= len(nonce) <= 86
    if not fits or not set(nonce.decode("latin-1")) <= NONCE_CHARACTERS:
        raise TrustError("the worker asks for a signature over something that is no session", element="device key")
