"""The agent in the guest: runs commands and moves files for the host, over a virtio-serial port.

One JSON object a line, bytes in base64. Each request carries an `id`, which its answers repeat.

    request                                                       answers
    {"argv": [..], "env": {}, "cwd": "/", "stdin": b, "timeout": s}  {"out": b}*, {"err": b}*, {"rc": n}
    {"put": path, "data": b, "mode": 420, "append": false}        {"rc": 0}
    {"get": path}                                                 {"out": b}*, {"rc": 0}
    {"sync": true, "time": seconds, "entropy": b}                 {"rc": 0}

A request that fails is answered {"error": words}. On its start the agent says {"hello": name, "boot": id}.
A command that outlives its timeout is killed with its process group and ends with -9.
"""

import base64
import fcntl
import glob
import json
import os
import signal
import struct
import subprocess
import threading
import time
from pathlib import Path
from typing import IO, Any

PORT_NAME = "lab.agent"
CHUNK = 48 * 1024
AFTERMATH_S = 2.0  # a child that became a daemon may keep the pipes open after its parent's end
RND_ADD_ENTROPY, RND_RESEED = 0x40085203, 0x5207
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def open_port() -> int:
    """Wait for our port to appear and open it."""
    while True:
        for name in glob.glob("/sys/class/virtio-ports/*/name"):
            if Path(name).read_text().strip() == PORT_NAME:
                return os.open("/dev/" + Path(name).parent.name, os.O_RDWR)
        time.sleep(0.05)


class Agent:
    """Answers requests, each in a thread of its own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writing = threading.Lock()

    def send(self, **message: Any) -> None:
        """Write one message whole, whatever the other threads write."""
        line = (json.dumps(message, separators=(",", ":")) + "\n").encode()
        with self._writing:
            while line:
                try:
                    line = line[os.write(self._port, line) :]
                except (BlockingIOError, InterruptedError):
                    time.sleep(0.01)

    def serve(self) -> None:
        """Read requests for ever."""
        line = bytearray()
        while True:
            data = os.read(self._port, 64 * 1024)  # in fact at most a page, the driver's buffer
            if not data:  # nobody is connected on the host's side
                time.sleep(0.02)
                continue
            first, *others = data.split(b"\n")
            line += first
            for other in others:
                if line:
                    threading.Thread(target=self.answer, args=(json.loads(line),), daemon=True).start()
                line = bytearray(other)

    def answer(self, request: dict[str, Any]) -> None:
        """Do one request; whatever goes wrong is an answer too."""
        number = request["id"]
        try:
            self.send(id=number, rc=self._do(number, request))
        except Exception as error:  # the host must hear of it, or it waits for nothing
            self.send(id=number, error=f"{type(error).__name__}: {error}")

    def _do(self, number: int, request: dict[str, Any]) -> int:
        if "put" in request:
            return put(request)
        if "get" in request:
            with open(request["get"], "rb") as file:
                self._pump(number, "out", file)
            return 0
        if "sync" in request:
            return sync(request)
        return self._run(number, request)

    def _run(self, number: int, request: dict[str, Any]) -> int:
        given = request.get("stdin")
        process = subprocess.Popen(
            request["argv"],
            env={**os.environ, **request.get("env", {})},
            cwd=request.get("cwd", "/root"),
            start_new_session=True,
            stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        pumps = [
            threading.Thread(target=self._pump, args=(number, name, stream), daemon=True)
            for name, stream in (("out", process.stdout), ("err", process.stderr))
        ]
        for pump in pumps:
            pump.start()
        if process.stdin is not None and given is not None:
            try:
                process.stdin.write(base64.b64decode(given))
                process.stdin.close()
            except BrokenPipeError:
                pass
        try:
            status = process.wait(request.get("timeout"))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            status = process.wait()
            self.send(id=number, err=base64.b64encode(b"\n[lab agent: time-out]\n").decode())
        for pump in pumps:
            pump.join(AFTERMATH_S)
        return status

    def _pump(self, number: int, name: str, stream: IO[bytes]) -> None:
        while data := os.read(stream.fileno(), CHUNK):
            self.send(id=number, **{name: base64.b64encode(data).decode()})


def put(request: dict[str, Any]) -> int:
    """Write or append one piece of a file."""
    path = Path(request["put"])
    with path.open("ab" if request.get("append") else "wb") as file:
        file.write(base64.b64decode(request["data"]))
    path.chmod(request.get("mode", 0o644))
    return 0


def sync(request: dict[str, Any]) -> int:
    """After a snapshot: the present time, and random numbers that differ from those of every other twin."""
    time.clock_settime(time.CLOCK_REALTIME, request["time"])
    entropy = base64.b64decode(request["entropy"])
    with open("/dev/urandom", "wb") as device:
        fcntl.ioctl(device, RND_ADD_ENTROPY, struct.pack("ii", len(entropy) * 8, len(entropy)) + entropy)
        fcntl.ioctl(device, RND_RESEED)
    return 0


def main() -> None:
    """Say hello and serve."""
    os.environ.setdefault("PATH", SYSTEM_PATH)
    agent = Agent(open_port())
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    agent.send(hello=os.uname().nodename, boot=boot)
    agent.serve()


if __name__ == "__main__":
    main()
