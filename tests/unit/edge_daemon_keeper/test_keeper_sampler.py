from __future__ import annotations

from typing import Any, cast

from edge_daemon.keeper.ports import EnforcedLimits, Runtime, Seen, Usage
from edge_daemon.keeper.report import MOVING
from edge_daemon.keeper.sampler import Sampler
from fleet_protocol.documents.device import ReportedService

WEB = Seen("shop", "web", "a", 7, 1.0, 100, None, None, oom_killed=False)


class Counted:
    """A kernel that counts how often it is asked."""

    asked = 0

    def limits(self, _app: str, _service: str) -> EnforcedLimits:
        return EnforcedLimits(1, 0, 1, 1)

    def usage(self, _app: str, _service: str) -> Usage:
        self.asked += 1
        return Usage(self.asked, 0, 0, 0, 0, 0)


def made() -> tuple[Sampler, Counted]:
    kernel = Counted()
    return Sampler(cast("Runtime", kernel)), kernel


def test_within_its_time_a_sample_is_not_taken_again_and_keeps_its_age() -> None:
    sampler, kernel = made()
    first = sampler.read(WEB, 0.0, 1000, at_most_every=60.0)
    assert sampler.read(WEB, 59.0, 1059, at_most_every=60.0) is first
    assert (first.at, kernel.asked) == (1000, 1)
    assert sampler.read(WEB, 60.0, 1060, at_most_every=60.0).at == 1060


def test_whoever_asks_for_newer_numbers_gets_them() -> None:
    sampler, _ = made()
    sampler.read(WEB, 0.0, 1000, at_most_every=60.0)
    assert sampler.read(WEB, 2.0, 1002, at_most_every=1.0).usage.memory_bytes == 2


def test_another_run_and_another_revision_are_read_at_once() -> None:
    sampler, kernel = made()
    for seen in (WEB, WEB._replace(start_ticks=200), WEB._replace(revision="b")):
        sampler.read(seen, 0.0, 1000, at_most_every=60.0)
    assert kernel.asked == 3


def test_what_is_gone_is_forgotten() -> None:
    sampler, kernel = made()
    sampler.read(WEB, 0.0, 1000, at_most_every=60.0)
    sampler.keep(set())
    sampler.read(WEB, 1.0, 1001, at_most_every=60.0)
    assert kernel.asked == 2


def test_every_figure_has_its_place_in_the_reported_document() -> None:
    fields: dict[str, Any] = ReportedService.model_fields
    assert set(MOVING) <= set(fields)
