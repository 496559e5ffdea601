"""CVE-2026-30892 and CVE-2026-119101: what a runtime makes of a user's name or a checkpoint. It gets neither."""

from __future__ import annotations

import json
from pathlib import Path

from runtime_support import MIB, World, wait_for, world

NOTES_ARGUMENTS = """#!/bin/sh
for word in "$@"; do echo "$word"; done >> {log}
for word in "$@"; do
  case $word in --process=*) cat "${{word#--process=}}" >> {processes}; echo >> {processes};; esac
done
exec /usr/sbin/runc "$@"
"""


def test_threat_48_names_of_users_never_reach_the_runtime_and_nothing_is_checkpointed(tmp_path: Path) -> None:
    log, processes, runc = tmp_path / "words", tmp_path / "processes", tmp_path / "runc"
    runc.write_text(NOTES_ARGUMENTS.format(log=log, processes=processes))
    runc.chmod(0o755)
    with world(str(runc)) as host:
        spec = _life_of_a_container(host)
        sealed = host.layout.revision("shop", spec) / "services" / "web" / "config.json"
        user = json.loads(sealed.read_bytes())["process"]["user"]

    asked = set(log.read_text().split("\n"))
    assert {"create", "start", "delete", "exec"} <= asked, "the whole life of a container was seen"
    assert not asked & {"checkpoint", "restore", "-u", "--user"}
    assert not [word for word in asked if word.startswith(("--user=", "-u="))]
    users = [json.loads(line)["user"] for line in processes.read_text().splitlines()] + [user]
    assert [(type(u["uid"]), type(u["gid"])) for u in users] == [(int, int)] * len(users)
    assert {u["uid"] for u in users} == {7}
    assert all("username" not in u for u in users)


def _life_of_a_container(host: World) -> str:
    """Created, probed, given other limits, ended and removed; its revision."""
    service, config = host.service("shop", "web", ["sleep", "1000"], user=7)
    service["probe"] = {
        "http_path": "/", "exec_args": ["/bin/sh", "-c", "exit 0"], "every_s": 10, "timeout_s": 5, "start_period_s": 0,
        "failures": 3, "healthy_for_s": 0,
    }  # fmt: skip
    spec = host.app("shop", (service, config))["web"]
    host.runtime.start(spec)
    status, said = host.starter("probe", "shop", "web", spec.revision["revision"], spec.seal)
    assert (status, said) == (0, {"probe": {"status": 0, "said": ""}})
    host.runtime.update_limits("shop", "web", {**service["limits"], "memory_bytes": 48 * MIB})
    host.runtime.signal("shop", "web", "SIGKILL")
    wait_for(lambda: host.seen("shop", "web").pid is None, 10, "its end")
    host.runtime.remove("shop", "web")
    return str(spec.revision["revision"])
