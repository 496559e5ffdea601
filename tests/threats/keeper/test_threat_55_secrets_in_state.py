"""Row 55: keys and secret values stand in no log, answer or report, and in no file that others may read."""

from __future__ import annotations

import stat
from pathlib import Path

from keeper_support import Host

CANARY = "canary-5f1b7f"


def test_threat_55_secrets_in_state_are_readable_by_root_alone_and_copied_nowhere(edge: Host) -> None:
    edge.online()
    edge.server.publish(edge.good({"shop": {"release": "1.0", "services": ["web"]}}, secret=CANARY))
    edge.server.reported(lambda r: r.generation == 1 and r.apps[0].services[0].pid)
    edge.server.publish(f"garbage with {CANARY}".encode())
    edge.server.reported(lambda r: r.refusal)
    key = edge.layout.device_key.read_text().splitlines()[1]

    said = str(edge.keeper.ask(ask="status")) + str(edge.keeper.ask(ask="events")) + edge.keeper.log.read_text()
    said += "".join(r.model_dump_json() for r in edge.server.reports) + "".join(edge.server.stored.values())
    assert CANARY not in said
    assert key not in said
    holders = [path for path in _files(edge.layout.state) if CANARY.encode() in path.read_bytes()]
    assert all(path.parent == edge.layout.incoming for path in holders), holders
    for path in (edge.layout.keeper_db, *holders):
        assert path.stat().st_mode & 0o077 == 0 or path.parent.stat().st_mode & 0o077 == 0, path
    assert stat.S_IMODE(edge.layout.incoming.stat().st_mode) == 0o700
    assert CANARY not in _environments(edge)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _environments(edge: Host) -> str:
    out = ""
    for pid in (edge.keeper.pid, *edge.keeper.pids().values()):
        for name in ("environ", "cmdline"):
            out += (Path("/proc") / str(pid) / name).read_bytes().decode(errors="replace")
    return out
