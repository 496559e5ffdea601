"""The product in a guest: how it gets there, how it is started, and what it shows."""

import json
from pathlib import Path
from typing import Any

from edge_host import EdgeHost
from product_center import Center, wait_for

PTH = "/usr/local/lib/python3.11/dist-packages/roadstead.pth"
DAEMON = "python3 -I -OO -m edge_daemon.main"
GROUP = "/sys/fs/cgroup/roadstead/apps/web/web"
START_S = 240.0  # an emulated processor is about 13 times slower


def enrol(host: EdgeHost, center: Center, name: str) -> None:
    """Make the guest this centre's device, by a token that needs no approval. The daemon does not run yet."""
    host.run(["mkdir", "-p", str(Path(PTH).parent)]).check()
    host.put(b"/mnt/wheels\n/mnt/source\n", PTH)  # the extra `edge`, and the source tree, from the shares
    host.put(center.token(name).encode(), "/root/token", mode=0o600)
    host.run(f"{DAEMON} enroll --token-file /root/token --wait", timeout=START_S).check()


def run_daemon(host: EdgeHost, runtime: str) -> None:
    """As an init system would start it."""
    host.run(f"setsid {DAEMON} run --runtime {runtime} >>/root/daemon.log 2>&1 </dev/null &").check()


def running(center: Center, name: str, release: str = "1.0.0") -> dict[str, Any]:
    """The device's row once it is well and runs the app, else nothing."""
    row = center.device(name)
    apps = (row.get("reported") or {}).get("apps") or [{}]
    return row if row.get("state") == "ok" and apps[0].get("release") == release else {}


def kernel_limits(host: EdgeHost) -> dict[str, str]:
    """The control group's own files."""
    files = ("memory.max", "memory.swap.max", "cpu.max", "pids.max")
    return dict(zip(files, host.run(f"cd {GROUP} && cat {' '.join(files)}").check().stdout.splitlines(), strict=True))


def page(host: EdgeHost) -> str:
    """What the published port answers, asked from the guest itself through its own address."""
    return host.run("timeout 5 busybox wget -q -O - http://10.0.2.15:8080/").stdout


def said(host: EdgeHost, verb: str) -> Any:
    """What `edge-daemon VERB -o json` prints in the guest."""
    return json.loads(host.run(f"{DAEMON} {verb} -o json", timeout=60).check().stdout)


def deploy(host: EdgeHost, center: Center, name: str, runtime: str) -> dict[str, Any]:
    """From a bare guest to the first release, well; its row."""
    enrol(host, center, name)
    run_daemon(host, runtime)
    wait_for("the host to connect", lambda: center.device(name).get("online"), START_S)
    center.fleet("apply", "--yes")
    row: dict[str, Any] = wait_for("the app to run", lambda: running(center, name), START_S)
    return row


def starts(center: Center, name: str) -> int:
    """How many times the daemon has said that it started."""
    return sum(e["kind"] == "daemon.started" for e in center.events(name))
