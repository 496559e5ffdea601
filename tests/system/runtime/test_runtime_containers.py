"""Starting, looking at and removing real containers."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from runtime_support import UID_BASE, World, shift, wait_for

from edge_daemon.keeper.runtime import mounts, processes
from edge_daemon.keeper.runtime.errors import RuntimeFailedError, SealBrokenError

FOREVER = ["/bin/sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 1000 & wait; done"]


def test_a_container_starts_is_seen_and_is_removed_without_a_trace(host: World) -> None:
    specs = host.app("shop", host.service("shop", "web", ["/bin/sh", "-c", "echo here; id; exec sleep 1000"]))
    pid = host.runtime.start(specs["web"])
    seen = host.seen("shop", "web")
    assert (seen.pid, seen.exit_code, seen.revision) == (pid, None, specs["web"].revision["revision"])
    assert seen.start_ticks == processes.start_ticks(pid)
    assert "uid=0" in host.says("shop", "web", "uid=")
    assert os.stat(f"/proc/{pid}").st_uid == UID_BASE
    host.runtime.remove("shop", "web")
    assert host.runtime.seen() == []
    assert mounts.mount_points(str(host.base)) == []
    assert list(host.layout.containers.iterdir()) == []
    assert list(host.layout.netns.iterdir()) == []
    assert processes.start_ticks(pid) is None
    host.runtime.remove("shop", "web")  # nothing there is no error


def test_its_exit_code_and_time_are_known_after_it_ended_by_a_signal(host: World) -> None:
    specs = host.app("shop", host.service("shop", "web", FOREVER))
    host.runtime.start(specs["web"])
    host.says("shop", "web", "up")
    handle = host.runtime.end_handle("shop", "web")
    assert handle is not None
    host.runtime.signal("shop", "web", "SIGTERM")
    wait_for(lambda: host.seen("shop", "web").pid is None, 10, "the end")
    seen = host.seen("shop", "web")
    os.close(handle)
    assert seen.exit_code == 7
    assert seen.ended_at is not None
    assert seen.started_at is not None
    assert seen.ended_at >= seen.started_at - 1
    assert not seen.oom_killed
    host.runtime.signal("shop", "web", "SIGTERM")  # gone: no error


def test_the_end_handle_becomes_readable_when_the_exit_code_is_already_written_down(host: World) -> None:
    import select

    specs = host.app("shop", host.service("shop", "web", ["/bin/sh", "-c", "sleep 0.3; exit 3"]))
    host.runtime.start(specs["web"])
    handle = host.runtime.end_handle("shop", "web")
    assert handle is not None
    assert select.select([handle], [], [], 10)[0]
    os.close(handle)
    assert host.seen("shop", "web").exit_code == 3
    assert host.runtime.end_handle("shop", "web") is None


def test_starting_what_already_runs_in_this_revision_changes_nothing(host: World) -> None:
    specs = host.app("shop", host.service("shop", "web", FOREVER))
    assert host.runtime.start(specs["web"]) == host.runtime.start(specs["web"])


def test_a_new_revision_replaces_the_old_container_of_the_same_name(host: World) -> None:
    old = host.runtime.start(host.app("shop", host.service("shop", "web", FOREVER))["web"])
    specs = host.app("shop", host.service("shop", "web", ["/bin/sleep", "1000"]))
    new = host.runtime.start(specs["web"])
    assert new != old
    assert processes.start_ticks(old) is None
    assert host.seen("shop", "web").revision == specs["web"].revision["revision"]


def test_an_ended_container_can_be_started_again_and_its_log_goes_on(host: World) -> None:
    specs = host.app("shop", host.service("shop", "web", ["/bin/echo", "once"]))
    for _ in range(2):
        host.runtime.start(specs["web"])
        assert host.ended("shop", "web").exit_code == 0
    assert host.log("shop", "web").split() == ["once", "once"]


def test_the_log_of_one_run_is_bounded_and_an_earlier_run_is_kept_beside_it(host: World) -> None:
    specs = host.app(
        "shop", host.service("shop", "web", ["/bin/sh", "-c", "yes 0123456789 | head -c 300000; echo end"])
    )
    log = host.layout.logs / "shop" / "web" / "ctr.log"
    for _ in range(2):
        host.runtime.start(specs["web"])
        assert host.ended("shop", "web").exit_code == 0
        assert log.stat().st_size <= 32 * 1024 + 4096
    assert (log.parent / "ctr.log.1").exists() or "end" in log.read_text()
    assert sum(f.stat().st_size for f in log.parent.iterdir()) <= 64 * 1024 + 8192


@pytest.mark.parametrize("path", ["revision.json", "services/web/config.json", "services/web/hosts"])
def test_nothing_is_started_from_a_revision_that_was_altered_after_sealing(host: World, path: str) -> None:
    spec = host.app("shop", host.service("shop", "web", FOREVER))["web"]
    file = host.layout.revision("shop", spec.revision["revision"]) / path
    file.write_bytes(file.read_bytes().replace(b"web", b"wob", 1) + b" ")
    with pytest.raises(SealBrokenError, match="sealed files were altered"):
        host.runtime.start(spec)
    assert host.runtime.seen() == []
    assert list(host.layout.containers.iterdir()) == []


def test_what_the_runtime_refuses_is_said_with_its_own_cause_and_leaves_nothing(host: World) -> None:
    spec = host.app("shop", host.service("shop", "web", ["/bin/nothing-here"]))["web"]
    with pytest.raises(RuntimeFailedError, match=r"could not make the container: .*nothing-here.*no such file"):
        host.runtime.start(spec)
    assert host.runtime.seen() == []
    assert list(host.layout.containers.iterdir()) == []
    assert mounts.mount_points(str(host.base)) == []


def test_a_revision_prepared_for_other_directories_is_refused(host: World) -> None:
    service, config = host.service("shop", "web", FOREVER)
    config["root"]["path"] = "/somewhere/else"
    with pytest.raises(RuntimeFailedError, match="it was prepared for /somewhere/else"):
        host.runtime.start(host.app("shop", (service, config))["web"])


def test_a_missing_layer_is_named_and_may_be_tried_again(host: World) -> None:
    spec = host.app("shop", host.service("shop", "web", FOREVER, layers=["base", "f00d"]))["web"]
    with pytest.raises(RuntimeFailedError, match="the unpacked layer f00d is missing") as caught:
        host.runtime.start(spec)
    assert caught.value.retry


def test_a_root_file_system_of_a_hundred_layers_is_mounted_the_last_on_top(host: World) -> None:
    names = []
    for number in range(99):
        layer = host.layout.layers / f"{number:064x}"
        layer.mkdir()
        (layer / "which").write_text(str(number))
        shift(layer)
        names.append(layer.name)
    spec = host.app("shop", host.service("shop", "web", ["/bin/cat", "/which"], layers=["base", *names]))["web"]
    host.runtime.start(spec)
    assert host.ended("shop", "web").exit_code == 0
    assert host.log("shop", "web") == "98"


def test_a_volume_belongs_to_the_services_user_and_outlives_the_container(host: World) -> None:
    volume = [{"name": "data", "target": "/data", "read_only": False}]
    write = host.service("shop", "web", ["/bin/sh", "-c", "echo kept > /data/file"], volumes=volume, user=1000)  # type: ignore[arg-type]
    read = host.service("shop", "web", ["/bin/cat", "/data/file"], volumes=volume, user=1000)  # type: ignore[arg-type]
    host.runtime.start(host.app("shop", write)["web"])
    assert host.ended("shop", "web").exit_code == 0
    path = Path(host.layout.volumes) / "shop" / "data"
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (UID_BASE + 1000, 0o755)
    host.runtime.start(host.app("shop", read)["web"])
    assert host.ended("shop", "web").exit_code == 0
    assert host.log("shop", "web") == "kept"


def test_an_unknown_signal_is_refused_in_words(host: World) -> None:
    with pytest.raises(RuntimeFailedError, match="SIGNOTHING is not a signal"):
        host.runtime.signal("shop", "web", "SIGNOTHING")


def test_a_kill_ends_at_once_what_ignores_everything_else(host: World) -> None:
    pid = host.runtime.start(host.app("shop", host.service("shop", "web", ["/bin/sleep", "1000"]))["web"])
    wait_for(lambda: b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes(), 10, "the runtime to give way to sleep")
    os.kill(pid, signal.SIGTERM)  # the first process of a pid namespace ignores what it does not handle
    assert host.seen("shop", "web").pid == pid
    host.runtime.signal("shop", "web", "SIGKILL")
    assert host.ended("shop", "web").exit_code == 137
    assert not host.seen("shop", "web").oom_killed
