"""`fleet apply --wait`: when it ends, and with which status."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_cli.commands import plan
from fleet_protocol.wire.errors import Exit, UnreachableError


def row(name: str, state: str = "ok", *, runs: int = 2, online: bool = True, **reported: Any) -> dict[str, Any]:
    said = {"generation": runs, "running_generation": runs, **reported}
    return {"device_id": name, "state": state, "why": "because", "online": online, "reported": said}


@pytest.mark.parametrize(
    ("rows", "status", "said"),
    [
        ([row("a"), row("b")], Exit.OK, "2 of 2 run it"),
        ([row("a"), row("b", "updating", runs=1)], None, "1 of 2 run it"),
        ([row("a"), row("b", "quiet", runs=1, online=False)], Exit.OK, "1 of 2 run it, 1 away"),
        ([row("a"), row("b", "degraded")], None, "1 of 2 run it"),
        ([row("a"), row("b", "failed")], Exit.ROLLOUT_FAILED, "b  because"),
        # What failed before this change does not speak about it: the change may be the cure.
        ([row("b", "failed", runs=1)], None, "0 of 1 run it"),
        ([row("b", "failed", runs=1, refusal={"generation": 1})], None, "0 of 1"),
        ([row("b", "failed", runs=1, refusal={"generation": 2})], Exit.ROLLOUT_FAILED, "b  because"),
        ([row("b", "failed", runs=1, refusal={})], None, "0 of 1"),
        ([{**row("c", "unknown"), "reported": None}], None, "0 of 1 run it"),
        ([], Exit.OK, "0 of 0 run it"),  # all were decommissioned meanwhile
    ],
)
def test_a_rollout_ends_when_every_connected_device_runs_it_or_one_failed(
    rows: list[dict[str, Any]], status: Exit | None, said: str
) -> None:
    ended, words = plan._progress(rows, dict.fromkeys("abc", 2))
    assert ended == status
    assert said in words


def test_a_server_that_is_away_for_a_moment_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: list[Any] = [UnreachableError("connection refused"), [row("a")]]

    class Server:
        def devices(self) -> list[dict[str, Any]]:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return list(answer)

    monkeypatch.setattr("time.sleep", lambda _: None)
    assert plan._wait(Server(), {"a": 2}, 60) == Exit.OK  # type: ignore[arg-type]
    said = capsys.readouterr().err
    assert "connection refused; waiting for it" in said
    assert "1 of 1 run it" in said
