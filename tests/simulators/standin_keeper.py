"""The real keeper on a stand-in for the host: `standin_keeper.py STATE_DIR RUN_DIR`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from edge_daemon.keeper.keeper import Keeper
from edge_daemon.keeper.local_socket import Members
from edge_daemon.keeper.ports import EnforcedLimits, Runtime, Seen, StartSpec, Usage
from edge_daemon.layout import Layout
from edge_daemon.sealed import LimitValues

HERE = Path(__file__).parent


class StandinRuntime:
    """Containers are the processes that `standin_starter` started."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def setup(self) -> None:
        """Nothing to make."""

    def seen(self) -> list[Seen]:
        """As recorded by the starter, and as /proc has it."""
        out = []
        for folder in sorted(self._layout.containers.glob("*.*")):
            try:
                meta = json.loads((folder / "meta.json").read_text())
            except (OSError, ValueError):
                continue
            runs = _ticks(meta["pid"]) == meta["ticks"]
            ended = folder / "exit"
            if not runs and not ended.exists() and _ticks(meta["pid"]) is None:
                runs = not (folder / "gone").exists() and _settling(folder)
            code = int(ended.read_text()) if not runs and ended.exists() else None
            out.append(
                Seen(
                    meta["app"], meta["service"], meta["revision"], meta["pid"] if runs else None, meta["at"],
                    meta["ticks"], code, ended.stat().st_mtime if code is not None else None, oom_killed=False,
                )
            )  # fmt: skip
        return out

    def start(self, spec: StartSpec) -> int:
        raise NotImplementedError(spec)

    def signal(self, app: str, service: str, name: str) -> None:
        """To the recorded pid."""
        import signal

        for one in self.seen():
            if (one.app, one.service) == (app, service) and one.pid is not None:
                os.kill(one.pid, getattr(signal, name))

    def retune(self, spec: StartSpec) -> int:
        raise NotImplementedError(spec)

    def remove(self, app: str, service: str) -> None:
        raise NotImplementedError(app, service)

    def usage(self, _app: str, _service: str) -> Usage:
        return Usage(4096, 8192, 1000, 0, 1, 0)

    def limits(self, _app: str, _service: str) -> EnforcedLimits:
        return EnforcedLimits(1 << 24, 0, 100, 16)

    def total(self, _app: str) -> EnforcedLimits:
        return EnforcedLimits(1 << 25, 0, None, None)

    def update_limits(self, app: str, service: str, limits: LimitValues) -> None:
        raise NotImplementedError(limits)

    def end_handle(self, app: str, service: str) -> int | None:
        """A pidfd."""
        for one in self.seen():
            if (one.app, one.service) == (app, service) and one.pid is not None:
                try:
                    return os.pidfd_open(one.pid)
                except ProcessLookupError:
                    return None
        return None

    def prune(self, apps: set[str]) -> None:
        raise NotImplementedError(apps)


class StandinMachine:
    """Command lines of the stand-ins."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.runtime: Runtime = StandinRuntime(layout)

    def start(self, app: str, service: str, revision: str, seal: str, _log_bytes: int) -> list[str]:
        return self._starter("start", app, service, revision, seal)

    def retune(self, app: str, service: str, revision: str, _seal: str) -> list[str]:
        return self._starter("retune", app, service, revision)

    def remove(self, app: str, service: str) -> list[str]:
        return self._starter("remove", app, service)

    def probe(self, app: str, service: str, revision: str, seal: str, kind: str) -> list[str]:
        raise NotImplementedError(app, service, revision, seal, kind)

    def hand_over(self, app: str, service: str) -> list[str]:
        return self._starter("hand-over", app, service)

    def hook(self, app: str, service: str, revision: str, name: str) -> list[str]:
        return self._starter("hook", app, service, revision, name)

    def prune(self, apps: set[str]) -> list[str]:
        return self._starter("prune", *apps)

    def _starter(self, verb: str, *words: str) -> list[str]:
        script = str(HERE / "standin_starter.py")
        return [sys.executable, "-I", "-S", script, verb, str(self._layout.run), str(self._layout.state), *words]

    def prepare(self, document: str, keep: set[tuple[str, str]], _running: dict[str, str]) -> list[str]:
        (self._layout.state / "keep.json").write_text(json.dumps(sorted(keep)))
        return [sys.executable, "-I", "-S", str(HERE / "standin_prepare.py"), str(self._layout.state), document]

    def check(self) -> list[str]:
        return ["cat", str(self._layout.state / "check.json")]

    def renew(self) -> list[str]:
        return ["true"]

    def settle(self) -> list[str]:
        return ["true"]

    def facts(self) -> dict[str, object]:
        return {"arch": "test", "platform": "linux/amd64"}

    def version_command(self) -> list[str]:
        return ["echo", "stand-in 1"]


def _settling(folder: Path) -> bool:
    """The shell that plays conmon has not written the exit code yet."""
    return (folder / "pid").exists()


def _ticks(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


if __name__ == "__main__":
    os.environ.pop("LD_PRELOAD", None)  # a false clock is the keeper's alone
    layout = Layout(Path(sys.argv[1]), Path(sys.argv[2]))
    layout.run.mkdir(exist_ok=True)
    gid = os.environ.get("STANDIN_GID")
    members = Members(int(gid) if gid else None, os.environ.get("STANDIN_MAY_CHANGE") == "yes")
    Keeper(layout, StandinMachine(layout), "0.0-test", members=members).run()
