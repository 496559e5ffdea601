"""Judges documents as `edge_daemon.prepare` does, for tests of the keeper alone: same lock, outcome and files.

    standin_prepare.py STATE_DIR DOCUMENT

A document is `GOOD ` and JSON (`generation`, `apps`: app -> `release`, `services` ..., `settings`), or `SLOW `,
`HANG `, `CRASH ` or `LATER ` before the same; all else is refused. Every run writes lines to STATE_DIR/prepare.log.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

SERVICE = {
    "image": "sha256:" + "0" * 64, "layers": [], "network": "none", "address": "", "ports": [], "volumes": [],
    "depends_on": {}, "restart_policy": "always", "stop_signal": "SIGTERM", "stop_grace_s": 1,
    "limits": {"memory_bytes": 1 << 24, "cpu_millis": 100, "cpu_weight": 100, "pids": 16, "nofile": 64},
}  # fmt: skip


def seal(state: Path, document: dict[str, Any], payload_sha256: str) -> int:
    """Write revisions and the generation's index, as prepare leaves them."""
    index: dict[str, Any] = {
        "schema": "roadstead/generation/v1",
        "generation": document["generation"],
        "sha256": payload_sha256,
        "apps": {},
        "settings": document.get("settings", {}),
    }
    for app, wanted in document["apps"].items():
        services = [SERVICE | service for service in wanted["services"]]
        content = {
            "schema": "roadstead/revision/v1",
            "app": app,
            "release": wanted["release"],
            "release_sha256": "1" * 64,
            "subnet": "",
            "start_order": wanted.get("start_order", [s["name"] for s in services]),
            "services": services,
            "health_window_s": wanted.get("health_window_s", 60),
            "max_restarts": wanted.get("max_restarts", 0),
            **({"total": wanted["total"]} if "total" in wanted else {}),
            "group": wanted.get("group", []),
            "files": {},
        }
        if "memory_slope_percent_per_h" in wanted:
            content["memory_slope_percent_per_h"] = wanted["memory_slope_percent_per_h"]
        revision = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        data = json.dumps(content | {"revision": revision}, sort_keys=True).encode()
        folder = state / "revisions" / app / revision
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "revision.json").write_bytes(data)
        index["apps"][app] = {
            "revision": revision, "seal": hashlib.sha256(data).hexdigest(), "release": wanted["release"],
        }  # fmt: skip
    folder = state / "generations" / str(document["generation"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.new").write_bytes(json.dumps(index).encode())
    (folder / "index.new").replace(folder / "index.json")
    return int(document["generation"])


def refused(reason: str, *, retry: bool) -> dict[str, Any]:
    sentence = f"While verifying, the stand-in failed: {reason}"
    return {"refused": {"code": "E0200", "sentence": sentence, "reason": reason, "retry": retry}}


def judge(state: Path, data: bytes) -> dict[str, Any]:
    word, _, rest = data.partition(b" ")
    if word == b"HANG":
        time.sleep(1000)
    if word == b"CRASH":
        os._exit(137)
    if word == b"LATER":
        return refused("the server is away", retry=True)
    if word not in (b"GOOD", b"SLOW"):
        return refused("no trusted key signed it", retry=False)
    if word == b"SLOW":
        print(json.dumps({"progress": "fetching", "detail": "1 of 2 blobs"}), flush=True)
        time.sleep(1.0)
    sha256 = hashlib.sha256(data).hexdigest()
    return {"sealed": {"generation": seal(state, json.loads(rest), sha256), "sha256": sha256}}


def main() -> int:
    state, document = Path(sys.argv[1]), Path(sys.argv[2])
    handle = os.open(state / "prepare.lock", os.O_RDWR | os.O_CREAT, 0o600)
    with (state / "prepare.log").open("a", buffering=1) as log:
        log.write(f"begin {os.getpid()}\n")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.write(f"locked {os.getpid()}\n")
            print(json.dumps(refused("another prepare is at work", retry=True)))
            return 1
        outcome = judge(state, document.read_bytes())
        log.write(f"end {os.getpid()}\n")
    print(json.dumps(outcome))
    return 0 if "refused" not in outcome else 9


if __name__ == "__main__":
    sys.exit(main())
