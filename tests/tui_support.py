"""A fleet for the terminal UI, behind its real interface: it can be slow, refuse, vanish and come back."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Any

from fleet_client.contexts import ContextError
from fleet_client.http import ServerSaidError
from fleet_protocol.wire.errors import UnreachableError
from tui.model.actions import Act
from tui.model.rollouts import Rollout, rollout
from tui.model.rows import device_row, enrolment, fleet, happening
from tui.model.world import Batch, Remembered
from tui.source.api import Wants
from tui.term.app import FleetApp
from tui.term.sheet import Look
from tui.term.shell import Server
from tui.term.skins import SKINS

NOW = 1_790_000_000
SITES = ("lyon", "oslo", "paris", "turin")
SHA = "9b1f" * 16
# One device in forty is not well; what each says.
TROUBLE = (
    ("failed", "signature refused: key-3 is not trusted"),
    ("degraded", "vision: killed by the kernel: memory over 64Mi"),
    ("degraded", "disk 93 % full"),
    ("updating", "pulling 61 %"),
    ("OVERDUE", "silent 3.2x contact (19 h)"),
    ("held", 'app veto: "recording"'),
    ("quiet", "offline for 2 h, due in 3 h"),
    ("unknown", "enrolled, never seen"),
)


def a_service(name: str = "web", **over: Any) -> dict[str, Any]:
    limits = {"memory_bytes": 64 << 20, "cpu_millis": 500, "pids": 64}
    return {"name": name, "state": "running", "health": "healthy", "restarts": 0, "oom_kills": 0, "pids": 7,
            "memory_bytes": 21 << 20, "limits": limits, **over}  # fmt: skip


def a_view(number: int = 0, **over: Any) -> dict[str, Any]:
    """A DeviceView, as the server sends it."""
    site = SITES[number // 7 % len(SITES)]
    name = f"cam-{site}-{number:05d}"
    state, why = TROUBLE[number // 40 % len(TROUBLE)] if number % 40 == 3 else ("ok", "")
    release = "1.8.2" if number % 3 else "1.9.0"
    services = [a_service("gw"), a_service("vision", memory_bytes=(62 if state == "degraded" else 33) << 20)]
    seen = 0 if state == "unknown" else NOW - 19 * 3600 if state == "OVERDUE" else NOW - number % 50
    reported = {
        "device_id": name, "boot_id": "b", "at": seen, "daemon_version": "0.1.0", "generation": 418, "sha256": SHA,
        "running_generation": 418, "host": {"arch": "arm64", "cgroup": "v2", "runtime": "crun 1.8.1"},
        "apps": [{"app": "cam", "state": "ok", "release": release, "desired_release": release, "services": services}],
    }  # fmt: skip
    return {
        "device_id": name, "labels": {"site": site, "role": "camera"}, "state": state, "why": why,
        "online": state not in ("OVERDUE", "quiet", "unknown"), "last_seen": seen, "enrolled_at": NOW - 10**6,
        "fingerprint": SHA, "certificate_expires": NOW + 20 * 86400 + 60, "desired_generation": 418,
        "desired_sha256": SHA, "fleets": ["cam-eu"], "reported": None if state == "unknown" else reported,
        "events": [
            {"seq": 3, "at": NOW - 60, "kind": "app.killed", "severity": "error", "app": "cam", "service": "vision",
             "text": "killed by the kernel: memory.max 64Mi, oom_kill 3"},
            {"seq": 2, "at": NOW - 200, "kind": "app.healthy", "severity": "info", "app": "cam", "service": "gw",
             "text": "healthy for 60 s, generation 418 confirmed"},
        ], **over,
    }  # fmt: skip


def an_event(number: int, view: dict[str, Any]) -> dict[str, Any]:
    return {**view["events"][number % 2], "device_id": view["device_id"], "at": NOW - 30 * number}


def an_enrolment(number: int = 0, **over: Any) -> dict[str, Any]:
    return {
        "request_id": f"request{number:02d}", "status": "pending", "device_id": None, "fingerprint": SHA,
        "requested_name": f"pi-{number}", "words": "acorn harbour lantern mosaic otter prairie tulip walnut",
        "labels": {"site": "lab"}, "asked_at": NOW - 90, "host": {"platform": "linux/arm64"}, **over,
    }  # fmt: skip


def a_fleet(name: str = "cam-eu", **over: Any) -> dict[str, Any]:
    return {"name": name, "select": {"role": "camera"}, "run": [{"app": "cam", "version": "1.9.0"}], **over}


def a_wave(name: str, state: str, size: int, **over: Any) -> dict[str, Any]:
    return {"name": name, "state": state, "size": size, **over}


def a_rollout(**over: Any) -> dict[str, Any]:
    """A RolloutView in its third of five waves."""
    gates = [
        {"text": "healthy >= 98%", "state": "passed", "value": 99.1, "limit": 98.0, "history": [96, 97, 98, 99, 99.1]},
        {"text": "restartsPerHour < 0.1", "state": "passed", "value": 0.02, "limit": 0.1, "history": [0.02, 0.01]},
        {"text": "http_p95_ms <= 45", "state": "inconclusive", "value": 41, "limit": 45, "history": [30, 33, 38, 41],
         "said": "reaches its limit in about 9 min"},
    ]  # fmt: skip
    waves = [
        a_wave("canary", "passed", 5, healthy=5, passed_at=NOW - 1800),
        a_wave("site:lab", "passed", 200, healthy=200, passed_at=NOW - 1000),
        a_wave("to 50%", "soaking", 1855, healthy=1484, failed=14, proving=257, updating=100, gates=gates,
               why=[{"code": "soaking", "text": "soaking", "until": NOW + 350}]),
        a_wave("to 90%", "waiting", 1648, waiting=1648),
        a_wave("rest", "waiting", 412, waiting=412, why=[{"code": "window", "text": "waits for 22:00"}]),
    ]  # fmt: skip
    causes = [
        {"cause": {"code": "refused", "text": "signature refused (key-3)"}, "devices": 14, "example": "cam-lyon-00003"},
        {"cause": {"code": "away", "text": "away for more than 5 min"}, "devices": 73, "example": "cam-oslo-00010"},
    ]
    return {
        "rollout_id": "r-7f3k", "app": "cam", "release": "1.9.0", "state": "running", "reason": "", "by": "ops1",
        "started_at": NOW - 2500, "devices": 4120, "done": 1703, "failed": 14, "deferred": 73, "waves": waves,
        "causes": causes, "next": [{"code": "soak", "text": "wave 4 opens if the gates hold", "until": NOW + 350}],
        **over,
    }  # fmt: skip


@dataclass
class SimulatedServer:
    """What a server would hold. `fault` is raised by whatever is asked next."""

    views: list[dict[str, Any]] = field(default_factory=list)
    fleets: list[dict[str, Any]] = field(default_factory=list)
    enrolments: list[dict[str, Any]] = field(default_factory=list)
    rollouts: list[dict[str, Any]] | None = None
    fault: Exception | None = None
    slow: threading.Event | None = None  # nothing is answered before it is set
    done: list[tuple[str, str, str]] = field(default_factory=list)
    closed: int = 0

    def connect(self) -> SimulatedSource:
        return SimulatedSource(self)

    def vanish(self) -> None:
        self.fault = UnreachableError("connection refused", element="https://api:8443", retry=True)

    def refuse(self) -> None:
        self.fault = ServerSaidError(401, {"reason": "the token is not known, or not any more"})


class SimulatedSource:
    """A source over it."""

    def __init__(self, server: SimulatedServer) -> None:
        self._server = server

    def read(self, wants: Wants) -> Batch:
        held = self._server
        if held.slow is not None:
            held.slow.wait(20)
        if held.fault is not None:
            raise held.fault
        details = next((json.loads(json.dumps(v)) for v in held.views if v["device_id"] == wants.device), None)
        rollouts: tuple[Rollout, ...] | None = None
        if held.rollouts is not None:
            rollouts = tuple(rollout(r) for r in held.rollouts)
        return Batch(
            devices=tuple(map(device_row, held.views)),
            fleets=tuple(map(fleet, held.fleets)),
            enrolments=tuple(map(enrolment, held.enrolments)),
            events=tuple(happening(an_event(n, v)) for n, v in enumerate(held.views[:60])),
            rollouts=rollouts,
            details=details,
            who=("ops1", "operator"),
        )

    def do(self, act: Act, target: str, reason: str) -> str:
        if self._server.fault is not None:
            raise self._server.fault
        self._server.done.append((act.verb, target, reason))
        return f"{act.verb} {target}"

    def pause_s(self) -> float:
        return 0.05

    def close(self) -> None:
        self._server.closed += 1


class SimulatedMachine:
    """Contexts, a clock that stands still until it is moved, and a memory."""

    def __init__(self, **servers: SimulatedServer) -> None:
        self.servers = servers
        self.time = float(NOW)
        self.memory: dict[str, Remembered] = {}
        self.environment = {"prod": "prod"}

    def contexts(self) -> list[dict[str, Any]]:
        return [
            {"name": n, "server": f"https://{n}.example:8443", "environment": self.environment.get(n, "")}
            for n in self.servers
        ]

    def server(self, name: str) -> Server:
        if name not in self.servers:
            raise ContextError(f"there is no context {name!r}", element="config.yaml")
        return Server(name, self.environment.get(name, ""), f"https://{name}.example:8443", self.servers[name].connect)

    def remembered(self, context: str) -> Remembered:
        return self.memory.get(context, Remembered())

    def remember(self, context: str, what: Remembered) -> None:
        self.memory[context] = what

    def now(self) -> float:
        return self.time


def a_server(devices: int = 1000, **over: Any) -> SimulatedServer:
    fields: dict[str, Any] = {
        "views": [a_view(n) for n in range(devices)], "fleets": [a_fleet(), a_fleet("lab", select={"site": "lab"})],
        "enrolments": [an_enrolment(0), an_enrolment(1, status="approved", device_id="pi-9")],
        "rollouts": [a_rollout()],
    }  # fmt: skip
    return SimulatedServer(**{**fields, **over})


def an_app(machine: SimulatedMachine, context: str = "lab", skin: str = "dark", **look: Any) -> FleetApp:
    return FleetApp(machine, machine.server(context), Look(SKINS[skin], **look), fps=20)
