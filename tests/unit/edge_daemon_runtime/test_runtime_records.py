from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_daemon.keeper.runtime import processes, records
from edge_daemon.keeper.runtime.hierarchies import Hierarchies

NOWHERE = Hierarchies("none", {}, None, frozenset())


def meta(pid: int | None, ticks: int | None, conmon: int | None = None) -> records.Meta:
    return {
        "app": "shop", "service": "web", "revision": "r", "boot_id": "b", "pid": pid, "start_ticks": ticks,
        "started_at": 1.0, "conmon_pid": conmon, "conmon_ticks": processes.start_ticks(conmon) if conmon else None,
    }  # fmt: skip


def own_ticks() -> int:
    ticks = processes.start_ticks(os.getpid())
    assert ticks is not None
    return ticks


def test_a_living_process_with_the_recorded_start_time_is_running(tmp_path: Path) -> None:
    seen, settling = records.look(str(tmp_path), meta(os.getpid(), own_ticks()), NOWHERE, "/g")
    assert (seen.pid, seen.exit_code, settling) == (os.getpid(), None, False)


def test_a_pid_with_another_start_time_is_somebody_else(tmp_path: Path) -> None:
    seen, settling = records.look(str(tmp_path), meta(os.getpid(), own_ticks() + 1), NOWHERE, "/g")
    assert (seen.pid, seen.exit_code, seen.ended_at, settling) == (None, None, None, False)


def test_dead_without_an_exit_code_is_settling_while_its_monitor_lives(tmp_path: Path) -> None:
    _, settling = records.look(str(tmp_path), meta(None, None, conmon=os.getpid()), NOWHERE, "/g")
    assert settling


def test_what_was_made_but_never_started_does_not_run(tmp_path: Path) -> None:
    made = {**meta(os.getpid(), own_ticks(), conmon=os.getpid()), "started_at": None}
    seen, settling = records.look(str(tmp_path), made, NOWHERE, "/g")  # type: ignore[arg-type]
    assert (seen.pid, seen.started_at, settling) == (None, None, False)


@pytest.mark.parametrize(
    ("code", "oom_note", "oom_killed"),
    [("0", False, False), ("137", False, False), ("137", True, True), ("1", True, False)],
)
def test_the_exit_file_tells_code_and_time(tmp_path: Path, code: str, oom_note: bool, oom_killed: bool) -> None:
    (tmp_path / "exit").mkdir()
    (tmp_path / "exit" / "shop.web").write_text(code)
    (tmp_path / "persist").mkdir()
    if oom_note:
        (tmp_path / "persist" / "oom").write_text("")
    seen, settling = records.look(str(tmp_path), meta(None, None), NOWHERE, "/g")
    assert (seen.exit_code, seen.oom_killed, settling) == (int(code), oom_killed, False)
    assert seen.ended_at == (tmp_path / "exit" / "shop.web").stat().st_mtime


@pytest.mark.parametrize("content", ["", "{", "[1"])
def test_a_record_that_cannot_be_read_is_no_record(tmp_path: Path, content: str) -> None:
    (tmp_path / "meta.json").write_text(content)
    assert records.read_meta(str(tmp_path)) is None


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    records.write_meta(str(tmp_path), meta(1, 2))
    assert records.read_meta(str(tmp_path)) == meta(1, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["meta.json"]


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("7 (sh) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0", ("S", 4242)),
        ("7 (a) b ) (c) Z 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0", ("Z", 4242)),
        ("7 (sh) S 1", None),
        ("", None),
    ],
)
def test_state_and_start_time_are_read_behind_any_name(text: str, parsed: tuple[str, int] | None) -> None:
    assert processes.parse_stat(text) == parsed


def test_a_dead_process_that_nobody_reaped_does_not_live() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert processes.start_ticks(pid) is None
    assert processes.handle(pid, own_ticks()) is None
    os.waitpid(pid, 0)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("SIGTERM", 15),
        ("SIGRTMIN+3", 37),
        ("SIGKILL", 9),
        ("SIG_IGN", None),
        ("TERM", None),
        ("SIGTERM+x", None),
        ("SIGRTMAX+1", None),
    ],
)
def test_signals_go_by_name(name: str, number: int | None) -> None:
    assert processes.signal_number(name) == number
