"""What two samples of a container say together, and how it looks on terminals of any width."""

from __future__ import annotations

from typing import Any

import pytest

from edge_daemon.commands.top import as_text, used

MIB = 1 << 20
LIMITS = {"memory_bytes": 64 * MIB, "cpu_millis": 500, "pids": 16}


def sample(at: float, **over: Any) -> dict[str, Any]:
    return {
        "app": "shop", "name": "web", "release": "1.0.0", "state": "running", "pid": 7, "started_at": 100,
        "limits": LIMITS, "memory_bytes": 20 * MIB, "memory_peak_bytes": 40 * MIB, "pids": 3, "oom_kills": 0,
        "restarts": 0, "cpu_usec": 0, "throttled_usec": 0, "io_read_bytes": 0, "io_write_bytes": 0,
        "sampled_at": int(1000 + at), "sampled_boottime": at, **over,
    }  # fmt: skip


GROWN = {"cpu_usec": 500_000, "throttled_usec": 200_000, "io_read_bytes": 4096, "io_write_bytes": 2 * MIB}


def test_rates_are_what_the_counters_grew_by_in_a_second() -> None:
    (row,) = used([sample(10.0)], [sample(12.0, **GROWN)], wall=1015.0)
    assert (row["cpu_percent"], row["throttled_percent"], row["cpu_limit_percent"]) == (25.0, 10.0, 50.0)
    assert (row["io_read_per_s"], row["io_write_per_s"]) == (2048.0, float(MIB))
    assert row["net_rx_per_s"] is None
    assert row["age_s"] == 3


@pytest.mark.parametrize(
    ("before", "now"),
    [
        pytest.param([], sample(12.0, **GROWN), id="seen for the first time"),
        pytest.param([sample(10.0, pid=8)], sample(12.0, **GROWN), id="another run of the container"),
        pytest.param([sample(12.0)], sample(12.0, **GROWN), id="the same sample again"),
        pytest.param([sample(10.0, **GROWN)], sample(12.0), id="a counter that went back"),
    ],
)
def test_no_rate_is_made_up(before: list[dict[str, Any]], now: dict[str, Any]) -> None:
    (row,) = used(before, [now], wall=1012.0)
    assert row["cpu_percent"] is None
    assert row["memory_bytes"] == 20 * MIB


def test_a_container_that_does_not_run_says_its_state() -> None:
    waiting = {"app": "shop", "name": "web", "state": "backoff", "limits": {}, "restarts": 3}
    (row,) = used([], [waiting], wall=1.0)
    assert as_text([row], 200).splitlines()[1].split() == ["shop/web", "backoff", "-", "-", "-", "-", "-", "-"]


def test_the_table_shows_values_beside_their_limits() -> None:
    rows = used([sample(10.0)], [sample(12.0, **GROWN)], wall=1015.0)
    assert as_text(rows, 200).splitlines() == [
        "APP/SERVICE  CPU         MEMORY            PEAK    THROTTLED  PIDS     OOM  READ/WRITE       AGE",
        "shop/web     25% of 50%  20 MiB of 64 MiB  40 MiB  10%        3 of 16  0    2.0 KiB/1.0 MiB  3 s",
    ]


@pytest.mark.parametrize("width", [1, 10, 40, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    rows = used([sample(10.0)], [sample(12.0, **GROWN)], wall=1015.0)
    lines = as_text(rows, width).splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) == 2


def test_a_host_without_containers_says_so() -> None:
    assert as_text([], 80) == "no containers"
