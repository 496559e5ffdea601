"""Killed anywhere, run again, the one-shot arrives; what was done is not done twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from edge_server_support import breaks_after, instead, trickles
from oci_support import Image, Layer, busybox_entries, busybox_image, digest, tar, text
from prepare_support import MIB, Site


def noise(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(count)  # noqa: S311


def big_image(size: int = 2 * MIB) -> Image:
    return busybox_image(None, Layer(tar([text("noise", noise(size).hex())]), "none"))


def start(site: Site, document: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        site.command(document), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def children_gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}/exe").exists() for pid in pids)


def children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def test_a_download_goes_on_where_a_killed_run_left_it(host: Site) -> None:
    image = big_image()
    document = host.document(host.release(host.service(image)))
    layer = max(image.fields["layers"], key=lambda entry: entry["size"])["digest"]
    host.server.faults[layer] = trickles(64 * 1024, 0.02)
    partial = host.layout.work / "partial" / layer.removeprefix("sha256:")
    with start(host, document) as process:
        deadline = time.monotonic() + 30
        while not partial.exists() or partial.stat().st_size < MIB:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        workers = children(process.pid)
        process.kill()
        process.communicate()
    until = time.monotonic() + 5
    while not children_gone(workers):
        assert time.monotonic() < until, "a worker outlived its parent"
        time.sleep(0.01)
    host.server.faults.clear()
    assert host.prepare(document).sealed
    resumed = host.server.fetched(layer)[-1]
    assert resumed.startswith("bytes=")
    assert int(resumed[6:-1]) >= MIB
    assert os.listdir(host.layout.work / "partial") == []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_kills_at_any_moment_leave_a_state_from_which_a_run_arrives(host: Site, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    document = host.document(
        host.release(host.service(busybox_image(compression="zstd"), "a"), host.service(big_image(), "b"))
    )
    for _ in range(4):
        with start(host, document) as process:
            try:
                process.wait(0.3 + chance.random() * 0.6)
            except subprocess.TimeoutExpired:
                process.kill()
            process.communicate()
        if host.layout.generation(1).exists():
            index = host.index(1)
            assert set(index["apps"]) == {"cam"}  # an index is never there without all that it names
            assert host.revision()["services"]
    outcome = host.prepare(document)
    assert outcome.status == 0
    assert not [name for name in host.layers() if name.startswith(".")]
    assert len(host.layers()) == 2
    assert host.prepare(document).last == {"current": {"generation": 1, "sha256": host.index()["sha256"]}}


def test_a_broken_connection_is_resumed_in_the_same_run(host: Site) -> None:
    image = big_image()
    layer = max(image.fields["layers"], key=lambda entry: entry["size"])
    document = host.document(host.release(host.service(image)))
    host.server.faults[layer["digest"]] = breaks_after(layer["size"] // 3 + 1)
    assert host.prepare(document).sealed
    starts = [int(r[6:-1]) if r else 0 for r in host.server.fetched(layer["digest"])]
    assert starts == [0, layer["size"] // 3 + 1, 2 * (layer["size"] // 3 + 1)]


def test_a_damaged_download_of_an_earlier_run_is_fetched_anew(host: Site) -> None:
    image = busybox_image()
    document = host.document(host.release(host.service(image)))
    layer = image.fields["layers"][0]
    host.server.faults["/manifests/"] = instead(b"{}")
    host.prepare(document)  # makes the directories
    host.server.faults.clear()
    partial = host.layout.work / "partial" / layer["digest"].removeprefix("sha256:")
    partial.write_bytes(b"x" * 1000)
    os.chown(partial, 64998, 64998)
    assert host.prepare(document).sealed
    assert host.server.fetched(layer["digest"]) == ["bytes=1000-", ""]


def test_an_unchanged_app_keeps_its_revision_and_a_shared_layer_is_fetched_once(host: Site) -> None:
    base = Layer(tar(busybox_entries()))
    a, b = Image([base], {"Cmd": ["/bin/sleep", "1"]}), Image([base, Layer(tar([text("x", "y")]))])
    cam = host.release(host.service(a))
    host.world.trust.add_app("box", host.world.time.now)
    host.world.trust.upload(host.world)
    box = host.release(host.service(b), app="box")
    assert host.prepare(host.document(cam)).sealed
    before = host.revision_folder("cam").stat()
    assert host.prepare(host.document(cam, box)).sealed
    after = host.revision_folder("cam").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert len(host.server.fetched(digest(base.packed))) == 1
    assert host.revision("cam")["subnet"] == "10.88.1.0/24" or host.revision("box")["subnet"] == "10.88.1.0/24"
    assert host.revision("cam")["subnet"] != host.revision("box")["subnet"]


def test_old_generations_revisions_and_layers_go_and_what_the_keeper_names_stays(host: Site) -> None:
    kept = ""
    for number in range(1, 6):
        image = busybox_image(None, Layer(tar([text("number", str(number))])))
        document = host.document(host.release(host.service(image), version=f"1.0.{number}"))
        outcome = host.prepare(document, *(["--keep", f"cam/{kept}"] if kept else []))
        assert outcome.sealed["generation"] == number
        kept = kept or host.index()["apps"]["cam"]["revision"]
    revisions = os.listdir(host.layout.revisions / "cam")
    assert sorted(os.listdir(host.layout.generations)) == ["4", "5"]
    assert len(revisions) == 3
    assert kept in revisions
    assert len(host.layers()) == 4  # the base, and one for each revision
    assert len(os.listdir(host.layout.blobs)) == 6


def test_only_one_runs_on_a_state_directory(host: Site) -> None:
    image = big_image()
    document = host.document(host.release(host.service(image)))
    host.server.faults["/blobs/"] = trickles(1024, 0.2)
    with start(host, document) as first:
        assert first.stdout is not None
        assert json.loads(first.stdout.readline())["progress"] == "verifying"
        refused = host.prepare(document).refused
        assert refused["reason"] == "another prepare is at work on this state directory"
        assert refused["retry"] is True
        first.send_signal(signal.SIGTERM)
        said, _ = first.communicate(timeout=10)
    assert json.loads(said.splitlines()[-1])["refused"]["reason"] == "was asked to end"
    assert first.returncode == 1


def test_a_release_that_does_not_fit_is_refused_before_its_first_byte(host: Site) -> None:
    image = busybox_image()
    image.unpacked_bytes = 1 << 50
    refused = host.run(host.service(image)).refused
    assert "MB needed" in refused["reason"]
    assert "MB free after clean-up" in refused["reason"]
    assert not any(host.server.fetched(entry["digest"]) for entry in image.fields["layers"])


def test_a_quota_for_images_is_kept(host: Site) -> None:
    app = host.release(host.service(busybox_image()))
    refused = host.prepare(host.document(app, settings={"images_quota_bytes": MIB})).refused
    assert "the quota for images is 2 MB" in refused["reason"]
    assert host.prepare(host.document(app, settings={"images_quota_bytes": 8 * MIB})).sealed


def test_the_cgroups_that_are_named_are_entered_first(host: Site) -> None:
    group = Path("/sys/fs/cgroup/pids") / host.cgroup_parent.strip("/")
    if not group.parent.exists():
        group = Path("/sys/fs/cgroup") / host.cgroup_parent.strip("/")
    group.mkdir()
    try:
        document = host.document(host.release(host.service(busybox_image())))
        host.server.faults["/blobs/"] = trickles(1024, 0.05)
        with subprocess.Popen(
            host.command(document, "--cgroup", str(group)), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
        ) as process:
            assert process.stdout is not None
            while json.loads(process.stdout.readline())["progress"] != "fetching":
                pass
            inside = {int(pid) for pid in (group / "cgroup.procs").read_text().split()}
            assert {process.pid, *children(process.pid)} <= inside
            process.kill()
            process.communicate()
        until = time.monotonic() + 5
        while (group / "cgroup.procs").read_text() and time.monotonic() < until:
            time.sleep(0.02)
    finally:
        group.rmdir()


def test_the_worker_has_an_id_of_its_own_and_no_power(host: Site) -> None:
    document = host.document(host.release(host.service(busybox_image())))
    host.server.faults["/blobs/"] = trickles(1024, 0.05)
    with start(host, document) as process:
        assert process.stdout is not None
        while json.loads(process.stdout.readline())["progress"] != "fetching":
            pass
        (worker,) = children(process.pid)
        status = Path(f"/proc/{worker}/status").read_text()
        handles = [os.readlink(f"/proc/{worker}/fd/{fd}") for fd in os.listdir(f"/proc/{worker}/fd")]
        process.kill()
        process.communicate()
    assert "Uid:\t64998\t64998\t64998\t64998" in status
    assert "NoNewPrivs:\t1" in status
    assert "CapEff:\t0000000000000000" in status
    assert not [h for h in handles if "identity" in h or h.endswith("prepare.lock")]


def test_a_run_that_fails_between_acceptance_and_commit_is_finished_by_the_next(host: Site) -> None:
    app = host.release(host.service(busybox_image()))
    assert host.prepare(host.document(app)).sealed
    document = host.document(app)
    blocker = host.layout.generations / "2"
    blocker.write_text("in the way")
    assert host.prepare(document).refused["retry"] is True
    blocker.unlink()
    assert host.prepare(document).sealed["sha256"] == host.index()["sha256"]
    older = host.world.envelope(host.world.desired_value(generation=2, device_id="pump-3", apps=[]))
    document.write_bytes(older)
    assert host.prepare(document).refused["code"] == "E0201"  # the same generation with other content


def test_a_state_directory_that_lost_its_floors_is_an_alarm_and_not_a_beginning(host: Site) -> None:
    assert host.run(host.service(busybox_image())).sealed
    for file in host.layout.trust_db.parent.iterdir():
        file.unlink()
    refused = host.run(host.service(busybox_image()), version="1.0.1").refused
    assert "refusing to begin anew" in refused["reason"]
    assert os.listdir(host.layout.generations) == ["1"]
