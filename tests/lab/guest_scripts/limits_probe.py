"""Runs in the guest: `limits_probe.py runc|crun`. Starts containers with tight limits and prints what held, as JSON.

The containers see the guest's own /usr read-only, so no image is needed.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MIB = 2**20
BUNDLES = Path("/var/tmp/limits-probe")
CGROUP = "/sys/fs/cgroup"
LIMIT_MEMORY = {"memory": {"limit": 32 * MIB, "swap": 32 * MIB}}
LIMIT_CPU = {"cpu": {"quota": 20_000, "period": 100_000}}
LIMIT_PIDS = {"pids": {"limit": 8}}
EAT_MEMORY = f"""
dd if=/dev/zero of=/dev/null bs=128M count=1
echo status $?
cat {CGROUP}/memory.max {CGROUP}/memory.events
"""
SPIN = f"cat {CGROUP}/cpu.max; timeout 2 sh -c 'while :; do :; done'; cat {CGROUP}/cpu.stat"
FORK = f"""
import os, time
count = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        count += 1
except OSError as error:
    print("forked", count)
    print("error", error.errno)
print("limit", open("{CGROUP}/pids.max").read().strip())
"""


def main(runtime: str) -> None:
    """Probe each limit in a container of its own."""
    began = time.monotonic()
    report = {
        "hello": run(runtime, "hello", ["/bin/echo", "hello"], {})["out"],
        "memory": run(runtime, "memory", ["/bin/sh", "-c", EAT_MEMORY], LIMIT_MEMORY),
        "cpu": run(runtime, "cpu", ["/bin/sh", "-c", SPIN], LIMIT_CPU),
        "pids": run(runtime, "pids", ["/usr/bin/python3", "-I", "-S", "-c", FORK], LIMIT_PIDS),
        "seconds": round(time.monotonic() - began, 2),
    }
    print(json.dumps(report))


def run(runtime: str, name: str, arguments: list[str], resources: dict[str, Any]) -> dict[str, Any]:
    """Run one container to its end."""
    bundle = BUNDLES / runtime / name
    root = bundle / "rootfs"
    for folder in ("usr", "proc", "sys", "dev", "tmp"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for link in ("bin", "lib", "lib64", "sbin"):
        if Path("/", link).is_symlink():
            (root / link).symlink_to(Path("/", link).readlink())
    (bundle / "config.json").write_text(json.dumps(configuration(name, arguments, resources)))
    done = subprocess.run(
        [runtime, "run", "--bundle", str(bundle), f"{runtime}-{name}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return {"status": done.returncode, "out": done.stdout, "err": done.stderr[-600:]}


def configuration(name: str, arguments: list[str], resources: dict[str, Any]) -> dict[str, Any]:
    """The OCI runtime configuration of one container."""
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": arguments,
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": False},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
            {"destination": CGROUP, "type": "cgroup", "source": "cgroup", "options": ["ro"]},
        ],
        "linux": {
            "cgroupsPath": f"/limits-probe/{name}",
            "resources": {"devices": [{"allow": False, "access": "rwm"}], **resources},
            "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network", "cgroup")],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}],
            },
        },
    }


if __name__ == "__main__":
    main(sys.argv[1])
