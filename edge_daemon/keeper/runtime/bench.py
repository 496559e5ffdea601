"""What a start costs on this host: `python -m edge_daemon.keeper.runtime.bench [ROUNDS]`, as root.

Everything happens in a temporary directory, a network namespace and a cgroup of its own. Prints one line a measure:
median and worst in milliseconds. The container is a static busybox with the shape of a product's own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_daemon.keeper.ports import StartSpec
from edge_daemon.keeper.runtime import groups, namespaces, programs
from edge_daemon.keeper.runtime.host import HostRuntime
from edge_daemon.layout import Layout
from edge_daemon.sealed import REVISION_SCHEMA, UID_BASE_DEFAULT, LimitValues, Revision, SealedService

LIMITS: LimitValues = {"memory_bytes": 32 << 20, "cpu_millis": 500, "cpu_weight": 100, "pids": 32, "nofile": 256}
PARALLEL = 4


def main(rounds: int = 20) -> int:
    """Measure and print."""
    base = Path(tempfile.mkdtemp(prefix="rs-bench-"))
    base.chmod(0o711)
    group = f"/roadstead-bench-{os.getpid()}"
    with namespaces.inside(None):
        namespaces.set_up("lo", up=True)
        runtime = HostRuntime(Layout(base / "state", base / "run"), group)
        try:
            runtime.setup()
            specs = [_seal(runtime, number) for number in range(PARALLEL)]
            print(f"{runtime.chosen.kind} on cgroup {runtime.hierarchies.version}, {rounds} rounds; milliseconds")
            for name, (median, worst) in _measure(runtime, specs, rounds).items():
                print(f"{name:44} median {median:7.1f}   worst {worst:7.1f}")
        finally:
            for one in runtime.seen():
                runtime.remove(one.app, one.service)
            runtime.prune(set())
            for leaf in ("/daemon", "/prepare", "/apps", "/monitors", ""):
                groups.remove(runtime.hierarchies, group + leaf)
            shutil.rmtree(base, ignore_errors=True)
    return 0


def _measure(runtime: HostRuntime, specs: list[StartSpec], rounds: int) -> dict[str, tuple[float, float]]:
    taken: dict[str, list[float]] = {}

    def timed(name: str, what: Callable[[], object]) -> None:
        began = time.perf_counter()
        what()
        taken.setdefault(name, []).append((time.perf_counter() - began) * 1000)

    starts = [runtime.starter_command("start", *_words(spec)) for spec in specs]
    removes = [runtime.starter_command("remove", spec.app, spec.service["name"]) for spec in specs]
    for _ in range(rounds):
        timed("start, as the keeper does it (child process)", lambda: _together(starts[:1]))
        timed("seen, one container", runtime.seen)
        timed("remove while running (child process)", lambda: _together(removes[:1]))
        timed("start, within one process", lambda: runtime.start(specs[0]))
        timed("remove while running, within one process", lambda: runtime.remove(specs[0].app, "s0"))
        timed(f"start of {PARALLEL} at the same time", lambda: _together(starts))
        timed(f"remove of {PARALLEL} at the same time", lambda: _together(removes))
    return {name: (statistics.median(times), max(times)) for name, times in taken.items()}


def _words(spec: StartSpec) -> list[str]:
    return [spec.app, spec.service["name"], spec.revision["revision"], spec.seal, str(spec.log_bytes)]


def _together(commands: list[list[str]]) -> None:
    for running in [programs.Program(command, seconds=60.0) for command in commands]:
        if (done := running.finish()).status != 0:
            raise SystemExit(done.out.decode() + done.err.decode())


def _seal(runtime: HostRuntime, number: int) -> StartSpec:
    """A sealed app of one service with a published port."""
    layout, app, name = runtime.layout, f"bench{number}", f"s{number}"
    layer = layout.layers / "busybox"
    if not layer.is_dir():
        for folder in ("bin", "proc", "sys", "dev"):
            (layer / folder).mkdir(parents=True)
        shutil.copy(programs.find("busybox"), layer / "bin" / "busybox")
        for path in (layer, *layer.rglob("*")):
            os.chown(path, UID_BASE_DEFAULT, UID_BASE_DEFAULT)
    service: SealedService = {
        "name": name, "image": "", "layers": ["busybox"], "network": "app", "address": f"10.88.{number}.2",
        "ports": [{"host_ip": "", "host_port": 8000 + number, "container_port": 80, "protocol": "tcp"}],
        "volumes": [], "depends_on": {}, "restart_policy": "no", "stop_signal": "SIGTERM", "stop_grace_s": 1,
        "limits": LIMITS,
    }  # fmt: skip
    revision = hashlib.sha256(name.encode()).hexdigest()
    config = json.dumps(_config(runtime, app, name)).encode()
    sealed: Revision = {
        "schema": REVISION_SCHEMA, "app": app, "release": "1", "release_sha256": revision, "revision": revision,
        "subnet": f"10.88.{number}.0/24", "start_order": [name], "services": [service], "health_window_s": 1,
        "max_restarts": 0, "group": [], "files": {f"services/{name}/config.json": hashlib.sha256(config).hexdigest()},
    }  # fmt: skip
    target = layout.revision(app, revision)
    (target / "services" / name).mkdir(parents=True)
    (target / "services" / name / "config.json").write_bytes(config)
    data = json.dumps(sealed).encode()
    (target / "revision.json").write_bytes(data)
    return StartSpec(app, service, sealed, hashlib.sha256(data).hexdigest(), 65536)


def _config(runtime: HostRuntime, app: str, name: str) -> dict[str, Any]:
    folder = runtime.layout.container(app, name)
    mapping = [{"containerID": 0, "hostID": UID_BASE_DEFAULT, "size": 65536}]
    spaces: list[dict[str, str]] = [{"type": t} for t in ("pid", "ipc", "uts", "mount", "cgroup", "user")]
    bound = ["bind", "ro", "nosuid", "nodev", "noexec"]
    return {
        "ociVersion": "1.0.2",
        "root": {"path": f"{folder}/rootfs", "readonly": True},
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": ["/bin/busybox", "sleep", "1000"], "cwd": "/",
            "noNewPrivileges": True, "capabilities": {},
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
            {"destination": "/sys", "type": "bind", "source": f"{folder}/sys", "options": bound},
        ],
        "linux": {
            "uidMappings": mapping, "gidMappings": mapping, "cgroupsPath": runtime.group(app, name),
            "namespaces": [*spaces, {"type": "network", "path": f"{runtime.layout.netns}/{app}.{name}"}],
            "resources": {
                "memory": {"limit": LIMITS["memory_bytes"], "swap": LIMITS["memory_bytes"]},
                "cpu": {"quota": LIMITS["cpu_millis"] * 100, "period": 100_000}, "pids": {"limit": LIMITS["pids"]},
            },
        },
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(*(int(word) for word in sys.argv[1:2])))
