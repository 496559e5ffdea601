"""Lines of a container's log: which are shown, and how a log is followed."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_daemon.commands.lengths import LengthError
from edge_daemon.commands.logs import Follower, Line, begin, tail, written

AT = "2026-03-01T12:00:{:02d}.123456789+00:00"
EPOCH = 1772366400.123456


def entry(second: int, text: str, tag: str = "F") -> str:
    return f"{AT.format(second)} stdout {tag} {text}\n"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    path = tmp_path / "ctr.log"
    path.write_text("".join(entry(s, f"line {s}") for s in range(10)))
    handle = os.open(path, os.O_RDONLY)
    yield path, handle
    os.close(handle)


def test_since_and_tail_together(log: tuple[Path, int]) -> None:
    assert [line.text for line in tail([log[1]], 2, EPOCH + 4)] == ["line 8", "line 9"]
    assert [line.text for line in tail([log[1]], 50, EPOCH + 7)] == ["line 7", "line 8", "line 9"]
    assert tail([log[1]], 50, EPOCH + 100) == []


@pytest.mark.parametrize(
    ("text", "moment"),
    [("10m", 1000.0 - 600), ("1d", 1000.0 - 86400), ("1970-01-01T00:00:05Z", 5.0), ("1970-01-01T02:00:05+02:00", 5.0)],
)
def test_moments_and_lengths(text: str, moment: float) -> None:
    assert begin(text, 1000.0) == moment


@pytest.mark.parametrize("text", ["", "x", "10", "-10m", "2026-13-01", "1e9s"])
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(LengthError, match="neither a length of time nor a moment"):
        begin(text, 1000.0)


@pytest.mark.parametrize(
    ("at", "moment"), [(AT.format(0), EPOCH), ("2026-03-01T12:00:00.1Z", EPOCH - 0.023456), ("t1", 0.0), ("", 0.0)]
)
def test_when_a_line_was_written(at: str, moment: float) -> None:
    assert written(Line(at, "stdout", "")) == pytest.approx(moment, abs=1e-6)


def test_following_gives_whole_lines_once_also_when_the_file_begins_anew(log: tuple[Path, int]) -> None:
    path, _ = log
    handle = os.open(path, os.O_RDONLY)
    follower = Follower(argparse.Namespace(app="a", service="", run_dir=path.parent), handle, path.stat().st_size)
    with path.open("a") as file:
        file.write(entry(10, "half", "P") + entry(10, " and half") + entry(11, "next")[:-3])
    assert [line.text for line in follower._new()] == ["half and half"]
    with path.open("a") as file:
        file.write("xt\n")
    assert [line.text for line in follower._new()] == ["next"]
    path.write_text(entry(12, "anew"))
    assert [line.text for line in follower._new()] == ["anew"]
    os.close(handle)
