"""`fleet rollout watch`: what it prints, when it ends, and with which status."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_cli import following
from fleet_cli.commands.rollout import lines
from fleet_protocol.wire.errors import Exit, UnreachableError

COUNTS = (
    "waiting", "updating", "proving", "healthy", "failed", "inconclusive", "deferred", "reverting", "reverted",
    "left_out",
)  # fmt: skip


def wave(name: str, state: str = "passed", gates: tuple[str, ...] = (), **counts: int) -> dict[str, Any]:
    numbers = dict.fromkeys(COUNTS, 0) | counts
    shown = [{"state": g, "text": "healthy >= 98%", "said": "99 >= 98"} for g in gates]
    return {"name": name, "state": state, "size": sum(counts.values()), "gates": shown, "why": (), **numbers}


def view(*waves: dict[str, Any], state: str = "running", **over: Any) -> dict[str, Any]:
    def total(kind: str) -> int:
        return sum(w[kind] for w in waves)

    done = total("healthy") + total("failed") + total("inconclusive")
    counted = {"done": done, "failed": total("failed"), "deferred": total("deferred")}
    fixed = {"rollout_id": "r-7F3KQ", "app": "gw", "release": "1.9.0", "before": ["1.8.2"], "by": "ops1"}
    devices = sum(w["size"] for w in waves)
    return {**fixed, "state": state, "reason": "", "devices": devices, "waves": list(waves), **counted, **over}


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (
            view(wave("canary", healthy=5), wave("rest", "open", healthy=10, updating=5, waiting=80)),
            "wave 2/2  15 %  10/95 ok  5 updating",
        ),
        (
            view(
                wave("canary", "soaking", ("passed", "inconclusive", "passed"), healthy=5),
                next=[{"code": "soak", "text": "wave canary soaks", "until": 1250}],
            ),
            "wave 1/1  100 %  5/5 ok  soak ends in 4:10  gates ok(2) open(1)",
        ),
        (
            view(wave("canary", healthy=4, failed=1), state="paused", reason="1 of 5 failed, more than 2 %"),
            "paused:  wave 1/1  100 %  4/5 ok  1 failed  1 of 5 failed, more than 2 %",
        ),
        (view(wave("all", "open", reverted=3, reverting=2), state="reverting"), "reverting:  3 back, 2 to go  "),
    ],
    ids=["a wave under way", "soaking", "paused", "reverting"],
)
def test_one_line_says_how_far_it_is(shown: dict[str, Any], words: str) -> None:
    assert following.line(shown, 1000.0).strip() == words.strip()


@pytest.mark.parametrize(
    ("shown", "strict", "status", "last"),
    [
        (view(wave("rest", "open", updating=1)), False, None, ""),
        (view(wave("rest", healthy=3), state="complete"), True, Exit.OK, "complete: 3 device(s) run gw 1.9.0"),
        (
            view(wave("rest", healthy=2, deferred=1), state="complete"),
            False, Exit.OK, "complete: 2 device(s) run gw 1.9.0, 1 deferred",
        ),
        (view(wave("rest", healthy=2, deferred=1), state="complete"), True, Exit.TIMED_OUT, ""),
        (view(wave("rest", healthy=2, updating=1), state="complete"), False, None, ""),
        (view(wave("rest", failed=2), state="complete"), False, Exit.ROLLOUT_FAILED, ""),
        (view(wave("rest", healthy=9, failed=1), state="complete"), False, Exit.OK, ""),
        (view(wave("rest", healthy=9, failed=1), state="complete"), True, Exit.ROLLOUT_FAILED, ""),
        (
            view(wave("rest", "open", reverted=3), state="reverted", reason="share 2.1 % > 2 %", quarantined=True),
            False, Exit.ROLLOUT_FAILED,
            "failed: share 2.1 % > 2 %  ->  reverted 3 device(s) (0 left on 1.9.0); gw 1.9.0 is in quarantine",
        ),
        (view(wave("rest", "open", healthy=1), state="aborted"), False, Exit.ROLLOUT_FAILED, "aborted"),
    ],
)  # fmt: skip
def test_it_ends_with_the_documented_status(
    shown: dict[str, Any], strict: bool, status: Exit | None, last: str
) -> None:
    assert following.ending(shown, strict=strict) == status
    if last:
        assert following.verdict(shown) == last


class Server:
    """Answers one after the other."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def rollout(self, _name: str) -> dict[str, Any]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)


def test_watching_prints_a_line_for_each_change_and_waits_for_a_server_that_is_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(following, "EVERY_S", 0.0)
    going = view(wave("rest", "open", updating=1))
    server = Server(
        going, going, UnreachableError("connection refused"), view(wave("rest", healthy=1), state="complete")
    )
    assert following.follow(server, ["r-7F3KQ"], None, strict=False) == Exit.OK  # type: ignore[arg-type]
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "wave 1/1  0 %  0/1 ok  1 updating"
    assert "connection refused; waiting for it" in said[1]
    assert said[-1] == "complete: 1 device(s) run gw 1.9.0"
    assert len(said) == 4


def test_watching_ends_when_its_time_is_over_and_the_rollout_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    server = Server(view(wave("rest", "open", updating=1)))
    assert following.follow(server, ["r-7F3KQ"], -1.0, strict=False) == Exit.TIMED_OUT  # type: ignore[arg-type]
    assert "r-7F3KQ goes on" in capsys.readouterr().err


def test_the_status_is_of_fixed_height_for_any_fleet() -> None:
    many = view(*(wave(f"wave {n}", "waiting", waiting=1000) for n in range(40)), fleet="prod", started_at=900)
    shown = lines(many, 1000.0)
    assert len(shown) < 20
    assert shown[0] == "r-7F3KQ  gw 1.8.2 -> 1.9.0  fleet prod  started 100s ago by ops1"
    assert "... and 32 more" in shown
