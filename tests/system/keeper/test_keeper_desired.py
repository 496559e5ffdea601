"""From messages on `desired` to prepare: floods, refusals, retries, crashes, orphans. The stand-in prepare counts."""

from __future__ import annotations

import os
import time
from pathlib import Path

from keeper_support import Host

WEB = {"release": "1.0", "services": ["web"]}


def test_5000_garbage_messages_start_few_prepares_one_at_a_time_and_the_genuine_document_wins(edge: Host) -> None:
    edge.online()
    edge.server.reported(lambda r: r.generation == 0)
    for n in range(5000):
        edge.server.publish(b"garbage %d" % n, generation=n, sha256="f" * 64)
        if n % 50 == 0:
            edge.server.pump(0.001)

    at = time.monotonic()
    edge.apply({"shop": WEB})

    assert time.monotonic() - at < 15
    log = edge.prepare_log()
    assert log == ["begin", "end"] * (len(log) // 2), "two prepares at a time"
    assert len(log) // 2 < 25
    assert edge.server.count("desired.refused") < 25
    assert edge.server.last is not None
    assert edge.server.last.refusal is None


def test_a_forged_claim_to_be_what_is_accepted_suppresses_nothing_but_its_own_message(edge: Host) -> None:
    edge.online()
    report = edge.apply({"shop": WEB})
    assert report.sha256 is not None
    before = edge.prepare_log().count("begin")

    edge.server.publish(b"garbage", generation=report.generation, sha256=report.sha256)
    edge.server.publish(edge.good({"shop": {"release": "1.1", "services": ["web"]}}), generation=2**53, sha256="0" * 64)

    edge.server.reported(lambda r: r.generation == 2)
    assert edge.prepare_log().count("begin") == before + 1


def test_a_refused_document_is_reported_and_the_same_bytes_start_no_prepare_again(edge: Host) -> None:
    edge.online()
    before = edge.apply({"shop": WEB})
    edge.server.publish(b"forged", generation=9)
    report = edge.server.reported(lambda r: r.refusal)
    assert report.refusal is not None
    assert report.refusal.sentence == "While verifying, the stand-in failed: no trusted key signed it"
    assert report.refusal.generation is None  # its properties were not both there
    runs = edge.prepare_log().count("begin")

    for _ in range(5):
        edge.server.publish(b"forged", generation=9)
        edge.server.pump(0.1)

    assert edge.prepare_log().count("begin") == runs
    assert edge.keeper.pids()["shop/web"] == before.apps[0].services[0].pid


def test_a_document_that_is_too_long_is_refused_without_a_prepare(edge: Host) -> None:
    edge.online()
    edge.server.publish(b"x" * (16 * 1024 + 1))

    report = edge.server.reported(lambda r: r.refusal)

    assert report.refusal is not None
    assert "16385 bytes, at most 16384 are allowed" in report.refusal.sentence
    assert edge.prepare_log() == []


def test_what_fails_for_a_passing_reason_comes_back_after_a_newer_document_was_refused(edge: Host) -> None:
    edge.online()
    later = edge.good({"shop": WEB}, word="LATER")
    edge.server.publish(later)
    report = edge.server.reported(lambda r: r.refusal)
    assert report.refusal is not None
    assert report.refusal.retry
    edge.server.publish(b"garbage")
    edge.server.until(lambda: edge.prepare_log().count("begin") >= 3, seconds=20)
    assert (edge.layout.incoming / next(iter(os.listdir(edge.layout.incoming)))).read_bytes() == later


def test_a_document_that_crashes_prepare_is_put_aside_after_three_tries(edge: Host) -> None:
    edge.online()
    before = edge.apply({"shop": WEB})
    edge.server.publish(edge.good({}, word="CRASH"))
    edge.server.until(lambda: edge.server.count("desired.quarantined") == 1, seconds=40)

    edge.generation += 1
    edge.apply({"shop": WEB, "blog": WEB})

    assert edge.keeper.pids()["shop/web"] == before.apps[0].services[0].pid


def test_progress_of_a_prepare_under_way_is_reported(edge: Host) -> None:
    edge.online()
    edge.server.publish(edge.good({"shop": WEB}, word="SLOW"))

    edge.server.reported(lambda r: r.preparing == "fetching: 1 of 2 blobs")
    edge.server.reported(lambda r: r.preparing == "" and r.generation == 1)


def test_a_prepare_that_a_killed_keeper_left_behind_is_found_by_its_lock_and_ended(edge: Host) -> None:
    edge.online()
    edge.server.publish(edge.good({}, word="HANG"))
    edge.server.until(lambda: edge.prepare_log() == ["begin"])
    orphan = int((edge.layout.state / "prepare.log").read_text().split()[1])
    edge.keeper.kill()

    edge.keeper.start()
    edge.server.publish(edge.good({"shop": WEB}))

    edge.server.reported(lambda r: r.generation == 2, seconds=20)
    assert not (Path("/proc") / str(orphan) / "exe").exists()


def test_a_generation_that_was_sealed_while_the_keeper_was_dead_is_run(edge: Host) -> None:
    edge.online()
    edge.server.publish(edge.good({"shop": WEB}, word="SLOW"))
    edge.server.until(lambda: edge.prepare_log() == ["begin"])
    edge.keeper.kill()
    edge.server.until_closed(lambda: edge.prepare_log() == ["begin", "end"])
    edge.broker.stop()

    edge.keeper.start()

    edge.server.until_closed(lambda: "shop/web" in edge.keeper.pids())


def test_keep_list_names_what_runs(edge: Host) -> None:
    edge.online()
    report = edge.apply({"shop": WEB})
    edge.apply({"shop": {"release": "1.1", "services": ["web"]}})

    assert str(report.apps[0].revision) in (edge.layout.state / "keep.json").read_text()
