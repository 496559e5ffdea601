"""`./dev bench`: the figures that the README names, measured here and now."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLEET = Path(sys.executable).parent / "fleet"
ROUNDS = 10


def main(wanted: str = "") -> int:
    """Print each part with its own command, so that it can be repeated alone; or only the part that is `wanted`."""
    parts: tuple[tuple[str, str, Sequence[str]], ...] = (
        (
            "keeper",
            "the keeper's memory",
            ("-m", "pytest", "-q", "-s", "--no-header", "tests/contracts/test_keeper_footprint.py"),
        ),
        ("containers", "a container's start and removal", ("-m", "edge_daemon.keeper.runtime.bench")),
        ("server", "the server, 10,000 devices", ("-m", "fleet_server.bench")),
        ("rollouts", "decisions of a rollout", ("-m", "fleet_server.bench_rollout")),
        (
            "tui",
            "the terminal UI on a terminal of its own",
            ("-m", "pytest", "-q", "-s", "--no-header", "tests/system/tui/test_tui_terminal.py"),
        ),
    )
    status = 0
    for name, title, command in parts:
        if wanted and name != wanted:
            continue
        print(f"\n{title}: python {' '.join(command)}", flush=True)
        status = subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode or status
    if wanted:
        return status
    print("\nthe fleet command")
    for arguments in (["version"], ["--help"], ["lint", "demo/shop/compose.yaml"]):
        print(f"  fleet {' '.join(arguments):<32} {_median_ms(arguments):6.0f} ms, median of {ROUNDS}")
    return status


def _median_ms(arguments: Sequence[str]) -> float:
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        subprocess.run([FLEET, *arguments], cwd=ROOT, capture_output=True, check=True)
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
