"""CVE-2026-30892, CVE-2026-119101: `exec -u` reads names, restoring a checkpoint trusts a file. Neither is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError
from runtime_support import World

from edge_daemon.keeper.runtime import asking
from edge_daemon.posture.versions import faults_of
from fleet_protocol.documents.release import Service
from fleet_protocol.wire.strict_json import dumps

SOURCES = Path(asking.__file__).parent
IMAGE = {"manifest": "sha256:" + "0" * 64, "manifest_size": 1, "download_bytes": 0, "unpacked_bytes": 0}
LIMITS = {"memory_bytes": 1 << 24, "cpu_millis": 100, "pids": 8}


@pytest.mark.parametrize(
    "user", ["root", "0:root", "-1", "+0", "0x0", "4294967296", "1000000", "0 0", "0:0:0", "\u0661", ""]
)
def test_threat_48_a_release_names_users_by_small_numbers_alone(user: str) -> None:
    value = {"name": "web", "images": {"linux/amd64": IMAGE}, "limits": LIMITS, "user": user}
    with pytest.raises(ValidationError, match="user"):
        Service.model_validate_json(dumps(value))


def test_threat_48_a_command_in_a_container_runs_as_the_containers_own_number(host: World) -> None:
    sealed, config = host.service("shop", "web", ["/bin/sleep", "1000"], user=1234)
    sealed["probe"] = {
        "exec_args": ["/bin/sh", "-c", "echo $(id -u):$(id -g); exit 1"],
        "http_path": "/", "every_s": 1, "timeout_s": 5, "start_period_s": 0, "failures": 1, "healthy_for_s": 0,
    }  # fmt: skip
    spec = host.app("shop", (sealed, config))["web"]
    host.runtime.start(spec)

    process = asking.process_of(config, ["true"])
    assert {type(number) for key, number in process["user"].items() if key in ("uid", "gid")} == {int}
    _, answer = host.starter("probe", "shop", "web", spec.revision["revision"], spec.seal)

    assert answer == {"probe": {"status": 1, "said": "1234:1234"}}
    uids = Path(f"/proc/{host.seen('shop', 'web').pid}/status").read_text()
    assert re.search(r"^Uid:\s+1001234\s", uids, re.MULTILINE)


def test_threat_48_nothing_ever_names_a_user_to_exec_or_makes_or_restores_a_checkpoint() -> None:
    """Every program text that calls an OCI runtime with its state."""
    callers = [text for path in SOURCES.rglob("*.py") if "--root=" in (text := path.read_text())]

    assert any('"exec"' in text for text in callers)
    for text in callers:
        assert not re.search(r"""["'](?:checkpoint|restore|--user\b[^"']*)["']""", text)
        assert '"exec"' not in text or '"-u"' not in text  # conmon's -u is the container's name
    assert len(callers) >= 2


def test_threat_48_a_crun_with_the_fault_is_named() -> None:
    assert [fault.name for fault in faults_of("crun", "1.26")] == ["CVE-2026-30892"]
    assert faults_of("crun", "1.27") == []
