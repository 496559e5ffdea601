"""The host's end of the line to a guest's agent (guest/lab_agent.py says what is spoken)."""

import base64
import contextlib
import itertools
import json
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class GuestError(Exception):
    """The root of what can go wrong with a guest."""


class GuestDownError(GuestError):
    """The guest went away before it answered."""


class GuestTimeoutError(GuestError):
    """The guest did not answer, or a command did not end, in time."""


class AgentRefusedError(GuestError):
    """The agent could not do what was asked: no such program, no such file."""


class CommandFailedError(GuestError):
    """A command in the guest ended with a status other than 0."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command in the guest ended. `seconds` counts from its submission."""

    status: int
    stdout: str
    stderr: str
    seconds: float

    def check(self) -> "CommandResult":
        """Itself when the status is 0; raises CommandFailedError with all that was said otherwise."""
        if self.status:
            raise CommandFailedError(f"status {self.status}\n{self.stdout}\n{self.stderr}")
        return self


class Job:
    """A request that the agent is working on."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._streams = {"out": bytearray(), "err": bytearray()}
        self._ended = threading.Event()
        self._status: int | None = None
        self._refusal: str | None = None

    @property
    def stdout(self) -> bytes:
        """What it has written so far; stays readable after a power cut."""
        return bytes(self._streams["out"])

    @property
    def stderr(self) -> bytes:
        """As stdout."""
        return bytes(self._streams["err"])

    @property
    def running(self) -> bool:
        """Whether an answer is still to come."""
        return not self._ended.is_set()

    def wait(self, timeout: float) -> CommandResult:
        """The result, within `timeout` seconds; raises a GuestError when there is none."""
        said = f"{self.stdout[-2000:].decode(errors='replace')}{self.stderr[-2000:].decode(errors='replace')}"
        if not self._ended.wait(timeout):
            raise GuestTimeoutError(f"no end within {timeout:.0f} s; so far:\n{said}")
        if self._refusal is not None:
            raise AgentRefusedError(self._refusal)
        if self._status is None:
            raise GuestDownError(f"the guest went down; until then:\n{said}")
        seconds = time.monotonic() - self._began
        return CommandResult(
            self._status, self.stdout.decode(errors="replace"), self.stderr.decode(errors="replace"), seconds
        )

    def hear(self, message: dict[str, Any]) -> None:
        """Take in one answer of the agent."""
        for name, stream in self._streams.items():
            if name in message:
                stream.extend(base64.b64decode(message[name]))
        if "rc" in message or "error" in message:
            self._status, self._refusal = message.get("rc"), message.get("error")
            self._ended.set()

    def lose(self) -> None:
        """No answer comes any more."""
        self._ended.set()


class AgentChannel:
    """A connection to one guest's agent, read by a thread of its own until the guest goes away."""

    def __init__(self, path: Path) -> None:
        """Connect to the socket at `path`; raises OSError while QEMU does not listen there."""
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._numbers = itertools.count(1)
        self._jobs: dict[int, Job] = {}
        self._hello = threading.Event()
        self._lock = threading.Lock()
        self._down = False
        self._reader = threading.Thread(target=self._read, name="lab-agent-reader", daemon=True)
        self._reader.start()

    def wait_hello(self, timeout: float) -> bool:
        """Whether the agent said hello, which it does at its start only, within `timeout` seconds."""
        return self._hello.wait(timeout)

    def submit(self, **request: Any) -> Job:
        """Send a request and do not wait; raises GuestDownError when the guest is gone."""
        job = Job()
        with self._lock:
            if self._down:
                raise GuestDownError("the guest is down")
            number = next(self._numbers)
            self._jobs[number] = job
            line = json.dumps({"id": number, **request}) + "\n"
            try:
                self._socket.sendall(line.encode())
            except OSError as error:
                raise GuestDownError(f"the guest is down: {error}") from error
        return job

    def close(self) -> None:
        """End the connection and its thread; jobs that are not done are lost."""
        with contextlib.suppress(OSError):  # the other end went first
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._socket.close()

    def _read(self) -> None:
        waiting = b""
        while data := self._receive():
            *lines, waiting = (waiting + data).split(b"\n")
            for line in lines:
                self._take(line)
        with self._lock:
            self._down = True
            for job in self._jobs.values():
                job.lose()

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(64 * 1024)
        except OSError:
            return b""

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return  # half a line, left over from before a power cut
        if "hello" in message:
            self._hello.set()
        elif (job := self._jobs.get(message.get("id"))) is not None:
            job.hear(message)
            if not job.running:
                del self._jobs[message["id"]]
