"""A disk that takes a second for every flush holds up no restart by more than the one note of it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime_support import wait_for
from trial_support import SLEEPS, TrialHost, trial_host

FLUSH_S = 1.0


@contextmanager
def slow_disk(edge: TrialHost) -> Iterator[None]:
    """Every fsync of the keeper and of its children takes so long: strace holds it up in the kernel's place."""
    delay = f"inject=fsync,fdatasync:delay_enter={int(FLUSH_S * 1e6)}"
    told = edge.layout.state / "flushes"
    pid = str(edge.keeper.pid)
    command = ["strace", "-f", "-qq", "-o", str(told), "-e", "trace=fsync,fdatasync", "-e", delay, "-p", pid]
    tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        status = Path(f"/proc/{pid}/status")
        wait_for(lambda: f"TracerPid:\t{tracer.pid}\n" in status.read_text(), 10, "the tracer")
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
    assert "DELAYED" in told.read_text(), "nothing was flushed, so nothing was measured"


def restart(edge: TrialHost) -> float:
    """Seconds from a crash until the container runs again."""
    before, _ = edge.identity("shop")
    at = time.monotonic()
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: any(one.pid not in (None, before) for one in edge.world.runtime.seen()), 30, "the restart")
    return time.monotonic() - at


def test_restarting_a_crashed_container_does_not_wait_for_a_slow_disk() -> None:
    with trial_host() as edge:
        edge.deliver(shop=edge.revision("shop", "1.0", SLEEPS))
        edge.good("shop", "1.0")

        with slow_disk(edge):
            took = restart(edge)

        print(f"\nstarted again {took:.2f} s after the crash, each flush taking {FLUSH_S:.0f} s")
        assert took < 1.0 + 2 * FLUSH_S + 1.0, "its delay, one flush for the note and a margin"
