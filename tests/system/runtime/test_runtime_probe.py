"""The command of a probe, run in a real container by the real child process of the keeper."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

from runtime_support import PYTHON, World, in_private_mounts_without_v2, wait_for

from edge_daemon.keeper.ports import StartSpec
from edge_daemon.keeper.runtime import hierarchies


def started(host: World, command: list[str], *, user: int = 0, timeout_s: int = 5, network: str = "app") -> StartSpec:
    """A container that sleeps, whose probe is `command`."""
    service, config = host.service("shop", "web", ["sleep", "1000"], user=user, network=network)
    service["probe"] = {
        "http_path": "/", "exec_args": command, "every_s": 10, "timeout_s": timeout_s, "start_period_s": 0,
        "failures": 3, "healthy_for_s": 0,
    }  # fmt: skip
    spec = host.app("shop", (service, config))["web"]
    host.runtime.start(spec)
    return spec


def ask(host: World, spec: StartSpec) -> dict[str, Any]:
    status, answer = host.starter("probe", "shop", "web", spec.revision["revision"], spec.seal)
    assert (status == 0) == ("probe" in answer)
    return answer


def processes_of(host: World) -> list[str]:
    """Command lines of what runs in the container's group."""
    found = []
    for mount in host.runtime.hierarchies.mounts():
        procs = Path(f"{mount}{host.cgroup_parent}/apps/shop/web/cgroup.procs")
        if procs.exists():
            found = [Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") for pid in procs.read_text().split()]
    return found


def test_a_command_that_succeeds_is_a_good_answer(host: World) -> None:
    assert ask(host, started(host, ["sh", "-c", "exit 0"])) == {"probe": {"status": 0, "said": ""}}


def test_a_command_that_fails_tells_its_exit_code_and_its_last_words(host: World) -> None:
    spec = started(host, ["sh", "-c", "exec >&2; echo first; echo the disk is full; exit 7"])

    assert ask(host, spec) == {"probe": {"status": 7, "said": "the disk is full"}}


def test_it_runs_as_the_service_does_and_with_no_capability(host: World) -> None:
    spec = started(
        host, ["sh", "-c", "echo $(id -u) $(grep -E '^(Cap|NoNew|Seccomp:)' /proc/self/status); exit 1"], user=7
    )

    said = ask(host, spec)["probe"]["said"].split()

    assert said[0] == "7"
    facts = dict(zip(said[1::2], said[2::2], strict=True))
    assert {facts[f"Cap{name}:"] for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert facts["NoNewPrivs:"] == "1"


def test_it_runs_in_the_containers_own_network_whichever_that_is(host: World) -> None:
    for network in ("app", "none", "host"):
        spec = started(host, ["sh", "-c", "echo $(readlink /proc/self/ns/net); exit 1"], network=network)
        pid = host.seen("shop", "web").pid

        assert ask(host, spec)["probe"]["said"] == str(Path(f"/proc/{pid}/ns/net").readlink())
        host.runtime.remove("shop", "web")


def test_one_that_hangs_is_ended_with_its_children_and_the_container_runs_on(host: World) -> None:
    spec = started(host, ["sh", "-c", "sleep 7777 & sleep 7777"], timeout_s=1)
    before = host.seen("shop", "web").pid
    began = time.monotonic()

    answer = ask(host, spec)

    assert answer == {"probe": {"status": None, "said": ""}}
    assert time.monotonic() - began < 3
    wait_for(lambda: not any("7777" in line for line in processes_of(host)), 3, "the command's end")
    assert any("1000" in line for line in processes_of(host))
    assert host.seen("shop", "web").pid == before
    assert not list((host.layout.run / "probes").iterdir())


def test_one_that_says_more_than_anybody_reads_is_cut(host: World) -> None:
    spec = started(host, ["sh", "-c", "yes | head -c 3000000; exit 1"])

    assert ask(host, spec) == {"probe": {"status": 1, "said": "y"}}


def test_a_command_that_is_not_there_is_a_bad_answer_in_the_runtimes_words(host: World) -> None:
    answer = ask(host, started(host, ["/bin/nothing"]))

    assert answer["probe"]["status"]
    assert "/bin/nothing" in answer["probe"]["said"]


def test_one_that_does_not_run_in_this_revision_is_not_asked(host: World) -> None:
    spec = started(host, ["sh", "-c", "exit 3"])
    host.runtime.remove("shop", "web")

    assert "it does not run" in ask(host, spec)["failed"]["reason"]


STORIES = (
    test_a_command_that_succeeds_is_a_good_answer,
    test_a_command_that_fails_tells_its_exit_code_and_its_last_words,
    test_it_runs_as_the_service_does_and_with_no_capability,
    test_it_runs_in_the_containers_own_network_whichever_that_is,
    test_one_that_hangs_is_ended_with_its_children_and_the_container_runs_on,
    test_one_that_says_more_than_anybody_reads_is_cut,
    test_a_command_that_is_not_there_is_a_bad_answer_in_the_runtimes_words,
)


def test_all_of_it_holds_with_crun() -> None:
    done = subprocess.run(
        [PYTHON, str(Path(__file__).with_name("crun_probe_story.py"))],
        capture_output=True, text=True, timeout=60, check=False,
        preexec_fn=in_private_mounts_without_v2 if hierarchies.detect().version == "hybrid" else None,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "told\n"), done.stderr
