"""Starts and removes containers that are plain processes, as `edge_daemon.keeper.starter` does real ones.

    standin_starter.py start|retune|remove|prune RUN_DIR STATE_DIR [APP SERVICE [REVISION SEAL]]

What a service runs stands in STATE_DIR/commands/<app>.<service>.json (argv); default: `sleep 1000`. A shell plays
conmon. STATE_DIR/hold/<app>.<service> makes a start hang until the file is gone.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path

MONITOR = """
"$@" & pid=$!
echo $pid > "$F/pid.new"; mv "$F/pid.new" "$F/pid"
wait $pid
echo $? > "$F/exit.new"; mv "$F/exit.new" "$F/exit"
"""


def ticks(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def start(run: Path, state: Path, app: str, service: str, revision: str) -> int:
    folder = run / "containers" / f"{app}.{service}"
    while (state / "hold" / f"{app}.{service}").exists():
        time.sleep(0.02)
    meta = folder / "meta.json"
    if meta.exists():
        known = json.loads(meta.read_text())
        if known["revision"] == revision and ticks(known["pid"]) == known["ticks"]:
            return int(known["pid"])
        remove(run, app, service)
    folder.mkdir(parents=True)
    command = state / "commands" / f"{app}.{service}.json"
    argv = json.loads(command.read_text()) if command.exists() else ["sleep", "1000"]
    if os.fork() == 0:
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.closerange(3, 64)
        os.environ["F"] = str(folder)
        os.execv("/bin/sh", ["sh", "-c", MONITOR, "sh", *argv])  # noqa: S606  as conmon would
    while not (folder / "pid").exists():
        time.sleep(0.002)
    pid = int((folder / "pid").read_text())
    meta.with_suffix(".new").write_text(
        json.dumps(
            {
                "app": app,
                "service": service,
                "revision": revision,
                "pid": pid,
                "ticks": ticks(pid) or 1,
                "at": time.time(),
            }
        )
    )
    meta.with_suffix(".new").replace(meta)
    with (state / "started.log").open("a") as log:
        log.write(f"{app}.{service} {revision} {pid}\n")
    return pid


def retune(run: Path, state: Path, app: str, service: str, revision: str) -> int:
    """Succeeds unless STATE_DIR/full/<app>.<service> is there."""
    if (state / "full" / f"{app}.{service}").exists():
        print(json.dumps({"failed": {"sentence": "it holds too much memory", "retry": False}}))
        return 1
    meta = run / "containers" / f"{app}.{service}" / "meta.json"
    known = json.loads(meta.read_text())
    meta.with_suffix(".new").write_text(json.dumps(known | {"revision": revision}))
    meta.with_suffix(".new").replace(meta)
    print(json.dumps({"pid": known["pid"]}))
    return 0


def remove(run: Path, app: str, service: str) -> None:
    folder = run / "containers" / f"{app}.{service}"
    if (folder / "meta.json").exists():
        known = json.loads((folder / "meta.json").read_text())
        if ticks(known["pid"]) == known["ticks"]:
            os.kill(known["pid"], signal.SIGKILL)
            while ticks(known["pid"]) == known["ticks"]:
                time.sleep(0.002)
    if folder.exists():
        for file in sorted(folder.iterdir(), key=lambda p: p.name != "meta.json"):
            file.unlink(missing_ok=True)
        folder.rmdir()


def main() -> int:
    verb, run, state, *words = sys.argv[1:]
    if verb == "prune":
        print(json.dumps({"pruned": True}))
        return 0
    app, service, *more = words
    (Path(run) / "locks").mkdir(parents=True, exist_ok=True)
    with (Path(run) / "locks" / f"{app}.{service}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if verb == "retune":
            return retune(Path(run), Path(state), app, service, more[0])
        if verb == "start":
            print(json.dumps({"pid": start(Path(run), Path(state), app, service, more[0])}))
        else:
            remove(Path(run), app, service)
            print(json.dumps({"removed": True}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
