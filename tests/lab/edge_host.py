"""EdgeHost: a throw-away Debian machine, ARM or x86, with pure cgroup v2, under QEMU.

Its disk is an overlay over the image, in the host's own folder. Commands run as root through the agent on a
virtio-serial port, so they work without a network, too. Start hosts from the main thread: QEMU dies with the
thread that started it.
"""

import base64
import json
import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agent_channel import AgentChannel, CommandResult, GuestDownError, GuestError, GuestTimeoutError, Job
from lab_images import find_image
from prerequisites import find_command
from qemu_command import NETWORK_CARD, HostFiles, HostSpec, Share, qemu_command

SYSTEMD = "/lib/systemd/systemd"
BOOT_TIMEOUT_S = 180.0
RESTORE_TIMEOUT_S = 60.0
SNAPSHOT = "ready"
PUT_CHUNK = 512 * 1024
POWER_OFF = (
    "sync; if [ -d /run/systemd/system ]; then systemctl poweroff --force; else echo o > /proc/sysrq-trigger; fi"
)
REBOOT = "sync; if [ -d /run/systemd/system ]; then systemctl reboot; else echo b > /proc/sysrq-trigger; fi"


class EdgeHost:
    """One guest and its power switch. All times are seconds; every failure is a GuestError."""

    def __init__(self, spec: HostSpec, folder: Path) -> None:
        self.spec = spec
        self.files = HostFiles(folder)
        self.boot_seconds = 0.0  # from power-on, or from the start of restore(), until the agent answered
        self._image = find_image(spec.architecture)
        self._process: subprocess.Popen[bytes] | None = None
        self._agent: AgentChannel | None = None
        self._plugged_in = True

    # -- power

    def start(self, *, clock: str | None = None, timeout: float = BOOT_TIMEOUT_S) -> Self:
        """Power on, on the disk as it is (a new one at first), and wait until the agent answers.

        `clock` (UTC, 1970-01-01T00:00:00) is what the clock shows then; None: the right time. A cable that was
        pulled stays so. Shares are not mounted.
        """
        began = time.monotonic()
        if not self.files.disk.exists():
            base = ["-F", "raw", "-b", str(self._image.disk)]
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *base, str(self.files.disk)], check=True)
        agent = self._launch(began + timeout, clock=clock)
        if not agent.wait_hello(max(0.0, began + timeout - time.monotonic())):
            self.power_cut()
            raise GuestTimeoutError(f"no word from the agent within {timeout:.0f} s; console:\n{self.console()}")
        self.boot_seconds = time.monotonic() - began
        return self

    def save(self) -> Path:
        """Keep memory and disk as a snapshot, power off, and return the disk to restore() twins from.

        No share may be mounted, and no forwarded connection open.
        """
        said = self._monitor("human-monitor-command", {"command-line": f"savevm {SNAPSHOT}"})
        if said.get("return"):
            raise GuestError(f"no snapshot: {said['return']}")
        self.power_cut()
        return self.files.disk

    def restore(self, saved: Path, timeout: float = RESTORE_TIMEOUT_S) -> Self:
        """Become a running twin of the host whose save() left the disk `saved`, with the present time."""
        began = time.monotonic()
        subprocess.run(["cp", "--reflink=auto", "--sparse=always", str(saved), str(self.files.disk)], check=True)
        agent = self._launch(began + timeout, "-loadvm", SNAPSHOT)
        entropy = base64.b64encode(os.urandom(64)).decode()
        agent.submit(sync=True, time=time.time(), entropy=entropy).wait(timeout)
        self.boot_seconds = time.monotonic() - began
        return self

    def power_cut(self) -> None:
        """Pull the plug: what the guest had not flushed to its disk is lost. Safe to call when it is off."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._agent is not None:
            self._agent.close()
            self._agent = None

    def reboot(self, *, clock: str | None = None, timeout: float = BOOT_TIMEOUT_S) -> Self:
        """Reboot in order; the rest is as with start()."""
        self._end_in_order(REBOOT, timeout)
        return self.start(clock=clock, timeout=timeout)

    def poweroff(self, timeout: float = 60.0) -> None:
        """Shut down in order, and pull the plug when that takes longer than `timeout` seconds."""
        if self.running:
            try:
                self._end_in_order(POWER_OFF, timeout)
            except GuestError:
                self.power_cut()

    @property
    def running(self) -> bool:
        """Whether the guest has power."""
        return self._process is not None and self._process.poll() is None

    # -- commands and files

    def run(
        self,
        command: str | Sequence[str],
        *,
        timeout: float = 120.0,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str = "/root",
    ) -> CommandResult:
        """Run a command as root, a string by /bin/sh, to its end.

        After `timeout` seconds it is killed with its process group, and its status is -9.
        """
        return self.submit(command, timeout=timeout, stdin=stdin, env=env, cwd=cwd).wait(timeout + 15.0)

    def submit(
        self,
        command: str | Sequence[str],
        *,
        timeout: float | None = None,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str = "/root",
    ) -> Job:
        """Start a command and return at once; the job says what it has written so far."""
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        request: dict[str, Any] = {"argv": argv, "env": dict(env or {}), "cwd": cwd, "timeout": timeout}
        if stdin is not None:
            request["stdin"] = base64.b64encode(stdin).decode()
        return self._connected().submit(**request)

    def put(self, data: bytes | Path, path: str, *, mode: int = 0o644) -> None:
        """Write bytes, or a file of this machine, to `path` in the guest.

        Large things go quicker by the share `exchange`.
        """
        content = data.read_bytes() if isinstance(data, Path) else data
        for offset in range(0, max(1, len(content)), PUT_CHUNK):
            piece = base64.b64encode(content[offset : offset + PUT_CHUNK]).decode()
            self._connected().submit(put=path, data=piece, mode=mode, append=offset > 0).wait(120.0)

    def get(self, path: str, *, timeout: float = 120.0) -> bytes:
        """The content of a file in the guest."""
        job = self._connected().submit(get=path)
        job.wait(timeout)
        return job.stdout

    def mount(self, *tags: str) -> Self:
        """Mount the named shares, or all, at /mnt/<tag>, read-only."""
        for share in self.spec.shares:
            if not tags or share.tag in tags:
                self.run(_mount_command(share)).check()
        return self

    def console(self) -> str:
        """The end of what the guest's kernel and init wrote."""
        path = self.files.console
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    # -- network

    def link(self, *, up: bool) -> None:
        """Pull the network cable (up=False) or plug it in, until the next call.

        Open connections see silence, not an end.
        """
        self._monitor("set_link", {"name": NETWORK_CARD, "up": up})
        self._plugged_in = up

    # -- below

    def _launch(self, end: float, *more: str, clock: str | None = None) -> AgentChannel:
        """Start QEMU and connect to the agent's socket, until the monotonic time `end`."""
        for path in (self.files.agent, self.files.monitor):
            path.unlink(missing_ok=True)
        busybox = find_command("busybox") or "busybox"
        command = qemu_command(self.spec, self.files, self._image, clock=clock, busybox=busybox)
        with self.files.qemu_log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *more], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        while self._agent is None:
            try:
                self._agent = AgentChannel(self.files.agent)
            except OSError as error:
                self._check_launch(end, error)
                time.sleep(0.02)
        if not self._plugged_in:
            self.link(up=False)  # a new QEMU knows nothing of it; seconds before the guest looks
        return self._agent

    def _check_launch(self, end: float, error: OSError) -> None:
        if self._process is None or self._process.poll() is not None:
            said = self.files.qemu_log.read_text(errors="replace")[-2000:]
            self.power_cut()
            raise GuestDownError(f"QEMU ended at its start: {said}") from error
        if time.monotonic() > end:
            self.power_cut()
            raise GuestTimeoutError("QEMU gave no socket for the agent") from error

    def _end_in_order(self, command: str, timeout: float) -> None:
        self.submit(command)
        assert self._process is not None  # submit() has spoken to it
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            self.power_cut()
            raise GuestTimeoutError(f"the guest did not end within {timeout:.0f} s") from error
        self.power_cut()

    def _connected(self) -> AgentChannel:
        if self._agent is None:
            raise GuestDownError("the guest is off")
        return self._agent

    def _monitor(self, command: str, arguments: Mapping[str, object]) -> dict[str, Any]:
        """Execute one command of QEMU's machine protocol and return its answer."""
        with socket.socket(socket.AF_UNIX) as line, line.makefile("rw") as stream:
            line.settimeout(120.0)
            line.connect(str(self.files.monitor))
            stream.readline()  # QEMU's greeting
            answer: dict[str, Any] = {}
            for request in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": dict(arguments)}):
                stream.write(json.dumps(request) + "\n")
                stream.flush()
                answer = json.loads(stream.readline())
                while "event" in answer:
                    answer = json.loads(stream.readline())
        if "error" in answer:
            raise GuestError(f"{command}: {answer['error'].get('desc')}")
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.power_cut()


def _mount_command(share: Share) -> str:
    options = "trans=virtio,version=9p2000.L,msize=512000,ro"
    caching = "loose" if share.cached else "none"
    return f"mkdir -p /mnt/{share.tag} && mount -t 9p -o {options},cache={caching} {share.tag} /mnt/{share.tag}"
