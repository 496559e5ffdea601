"""A whole fleet on this machine: real server, broker, daemons and containers, each host in a network namespace of its
own; the operator's command as a process. Everything lies below one folder and one control group, and is taken away."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cli_support import Operator
from server_process_support import Process, wait_until

HUB = "198.18.0.1"
BROKER_PORT, HTTPS_PORT = 8883, 8443
ROLLOUT = """rollout:
  waves: [{name: canary, devices: 1}, rest]
  stopAt: 0%
  onFail: revert
  deadline: 60s
  offline: {after: 5s}
"""


def run(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


class FleetWorld:
    """A hub with server and broker, and hosts `edge-1` to `edge-n`."""

    def __init__(self, hosts: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rsw-", dir="/var/tmp"))
        self.folder.chmod(0o755)
        self.dir = self.folder / "server"
        self.cgroup = f"rsw-{os.getpid()}"
        self.names = [f"edge-{n}" for n in range(1, hosts + 1)]
        self.processes: dict[str, Process] = {}
        self._networks()
        fleet_server = [sys.executable, "-m", "fleet_server.main"]
        run(
            *fleet_server, "init", "--dir", str(self.dir), "--name", HUB, "--name", "localhost",
            "--listen", f"{HUB}:{HTTPS_PORT}", "--url", f"https://{HUB}:{HTTPS_PORT}", "--broker",
            f"{HUB}:{BROKER_PORT}",
        )  # fmt: skip
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.operator = Operator(self.folder / "operator", self)  # type: ignore[arg-type]  # what it uses is there

    # --- processes

    def start_broker(self) -> None:
        self.processes["broker"] = self._inside(
            "hub", ["/usr/sbin/mosquitto", "-c", str(self.dir / "broker/mosquitto.conf")], "running"
        )

    def start_server(self) -> None:
        """For hosts in the hub's network, and on a socket of this one for the operator."""
        with socket.socket() as here:
            here.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            here.bind(("127.0.0.1", self.port))
            here.set_inheritable(True)
            command = [sys.executable, "-m", "fleet_server.main", "run", "--dir", str(self.dir)]
            self.processes["server"] = self._inside(
                "hub", [*command, "--listen-fd", str(here.fileno())], "startup complete", fds=(here.fileno(),)
            )

    def start_edge(self, name: str) -> None:
        words = ["--expect-netns", str(self.netns(name)), "--run-dir", str(self.folder / f"{name}-run")]
        words += ["--cgroup-parent", f"/{self.cgroup}/{name}"]
        command = [sys.executable, "-m", "edge_daemon.main", "run", "--state-dir", str(self.folder / name), *words]
        self.processes[name] = self._inside(name, command, "")

    def kill(self, name: str, how: int = signal.SIGKILL) -> None:
        self.processes.pop(name).end(how)

    def _inside(self, where: str, command: list[str], ready: str, fds: tuple[int, ...] = ()) -> Process:
        return Process(["nsenter", f"--net={self.netns(where)}", "--", *command], ready, fds)

    # --- networks

    def netns(self, name: str) -> Path:
        return self.folder / "netns" / name

    def _networks(self) -> None:
        (self.folder / "netns").mkdir()
        for name in ("hub", *self.names):
            self.netns(name).touch()
            run("unshare", f"--net={self.netns(name)}", "true")
            self.within(name, "ip", "link", "set", "lo", "up")
        self.within("hub", "ip", "link", "add", "hub0", "type", "bridge")
        self.within("hub", "ip", "addr", "add", f"{HUB}/24", "dev", "hub0")
        self.within("hub", "ip", "link", "set", "hub0", "up")
        for number, name in enumerate(self.names, 11):
            peer = ["type", "veth", "peer", "name", "up0", "netns", str(self.netns(name))]
            self.within("hub", "ip", "link", "add", name, *peer)
            self.within("hub", "ip", "link", "set", name, "master", "hub0", "up")
            self.within(name, "ip", "addr", "add", f"198.18.0.{number}/24", "dev", "up0")
            self.within(name, "ip", "link", "set", "up0", "up")

    def within(self, name: str, *command: str, check: bool = True) -> str:
        return run("nsenter", f"--net={self.netns(name)}", "--", *command, check=check)

    def cable(self, name: str, *, up: bool) -> None:
        self.within("hub", "ip", "link", "set", name, "up" if up else "down")

    # --- the story's first half

    def begin(self) -> None:
        """Server, broker, trust, every host enrolled and running, release 1.0.0 of `shop` on all of them."""
        self.start_broker()
        self.start_server()
        self.operator.join()
        for name in self.names:
            said = self.operator.fleet("enroll", "token", "--label", "site=lab", "--auto-approve", "--name", name)
            token = self.folder / f"{name}.token"
            token.touch(mode=0o600)
            token.write_text(said.out)
            enroll = [sys.executable, "-m", "edge_daemon.main", "enroll", "--state-dir", str(self.folder / name)]
            self.within(name, *enroll, "--token-file", str(token))
            self.start_edge(name)
        wait_until(lambda: sum(d["online"] for d in self.devices().values()) == len(self.names), "all hosts", 60)
        self.release("1.0.0")
        self.operator.fleet("apply", "--yes", "--wait", "--timeout", "60")

    def release(self, version: str, command: str = "sleep 1000", *, more: str = "", app: str = "") -> None:
        """One release of `shop`, and fleet.yaml that names it with the canary's policy."""
        compose = (
            "services:\n  web:\n    image: shop/web:1\n    mem_limit: 16m\n    stop_grace_period: 1s\n"
            f"    entrypoint: [/bin/busybox, sh, -c]\n    command: [{json.dumps(command)}]\n{more}"
        )
        self.operator.write_app(version, compose)
        path = self.operator.folder / "app.yaml"
        path.write_text(path.read_text() + (app or "health: {window: 3s, restarts: 0}\n"))
        fleet = self.operator.folder / "fleet.yaml"
        contact = "contact: {every: 5s, overdue: 3x}\nsettings: {reportEvery: 5s}\n"
        fleet.write_text(fleet.read_text() + contact + ROLLOUT)
        self.operator.fleet("release")

    def begin_rollout(self, version: str, command: str = "sleep 1000", **how: str) -> str:
        """Released and applied; the rollout's name."""
        self.release(version, command, **how)
        self.operator.fleet("apply", "--yes")
        return str(self.rollouts()[0]["rollout_id"])

    # --- looking

    def devices(self) -> dict[str, Any]:
        return {row["device_id"]: row for row in self.operator.items("get", "devices")}

    def rollouts(self) -> list[dict[str, Any]]:
        return self.operator.items("rollout", "list")

    def rollout(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self.operator.fleet("rollout", "status", name, "-o", "json").out))

    def runs(self) -> dict[str, str]:
        """What runs on each host, as it says itself."""
        out = {}
        for name, row in self.devices().items():
            apps = (row.get("reported") or {}).get("apps", ())
            out[name] = next((a["release"] for a in apps if a.get("release") and _up(a)), "")
        return out

    def wait(self, true: Callable[[], bool], what: str, seconds: float = 60) -> None:
        wait_until(true, what, seconds)

    # --- the end

    def close(self) -> None:
        for process in self.processes.values():
            with contextlib.suppress(Exception):
                process.end(signal.SIGKILL)
        for name in self.names:
            self._remove_containers(name)
        for mount in sorted(self._mounts(), reverse=True):
            run("umount", "--lazy", mount, check=False)
        self._remove_groups()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _remove_containers(self, name: str) -> None:
        run_dir = self.folder / f"{name}-run"
        for folder in sorted((run_dir / "containers").glob("*.*")):
            app, _, service = folder.name.partition(".")
            starter = [sys.executable, "-I", "-m", "edge_daemon.keeper.starter", "remove"]
            where = ["--state-dir", str(self.folder / name), "--run-dir", str(run_dir)]
            group = ["--cgroup-parent", f"/{self.cgroup}/{name}", "--runtime", "auto"]
            self.within(name, *starter, *where, *group, app, service, check=False)

    def _mounts(self) -> list[str]:
        lines = Path("/proc/self/mounts").read_text().splitlines()
        return [p for line in lines if (p := line.split()[1]).startswith(f"{self.folder}/")]

    def _remove_groups(self) -> None:
        base = Path("/sys/fs/cgroup")
        for _ in range(60):  # the kernel lets go of a group a moment after its last process
            found = [
                p for p in (base / self.cgroup, *(d / self.cgroup for d in base.iterdir() if d.is_dir())) if p.is_dir()
            ]
            if not found:
                return
            for group in found:
                inner = sorted((p for p in group.rglob("*") if p.is_dir()), key=lambda p: len(p.parts), reverse=True)
                for folder in (*inner, group):
                    with contextlib.suppress(OSError):
                        folder.rmdir()
            time.sleep(0.05)


def _up(app: dict[str, Any]) -> bool:
    return any(s["state"] == "running" for s in app.get("services", ()))


@contextlib.contextmanager
def fleet_world(hosts: int) -> Iterator[FleetWorld]:
    world = FleetWorld(hosts)
    try:
        world.begin()
        yield world
    finally:
        world.close()
