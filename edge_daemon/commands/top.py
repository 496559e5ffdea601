"""`edge-daemon top`: what each container uses of what it may. Works without any server. Standard library only.

The daemon keeps counters as the kernel gives them; what they grew by in a second is computed here, from two samples.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edge_daemon.keeper.local_client import ask
from fleet_protocol.wire.errors import Exit, inert

INTERVAL_S = 2.0
UNITS = ("B", "KiB", "MiB", "GiB")
FIRST_S = 1.1  # a sample of the daemon is no older than a second
RATES = {
    "cpu_usec": "cpu_percent", "throttled_usec": "throttled_percent",
    "cpu_stalled_usec": "cpu_pressure_percent", "memory_stalled_usec": "memory_pressure_percent",
    "io_stalled_usec": "io_pressure_percent",
    "io_read_bytes": "io_read_per_s", "io_write_bytes": "io_write_per_s",
    "net_rx_bytes": "net_rx_per_s", "net_tx_bytes": "net_tx_per_s",
}  # fmt: skip
HERE = ("memory_bytes", "memory_peak_bytes", "pids", "oom_kills", "restarts", "state")

Row = dict[str, Any]


def run(args: argparse.Namespace) -> int:
    """Exit 0; goes on until q or ctrl-c on a terminal, else it shows one table. 8 when no daemon runs."""
    before = _ask(args)
    time.sleep(FIRST_S)
    if args.once or args.output == "json" or not sys.stdout.isatty():
        rows = used(before, _ask(args), time.time())
        print(json.dumps({"containers": rows}, sort_keys=True) if args.output == "json" else as_text(rows, _width()))
        return Exit.OK
    with _screen():
        while True:
            now = _ask(args)
            _draw(used(before, now, time.time()))
            before = now
            if _asked_to_end(INTERVAL_S):
                return Exit.OK


def _ask(args: argparse.Namespace) -> list[dict[str, Any]]:
    return list(ask(args.run_dir, {"ask": "top"})["containers"])


def used(before: list[dict[str, Any]], now: list[dict[str, Any]], wall: float) -> list[Row]:
    """One row for each container; None where the kernel says nothing, or where the run of the container is new."""
    known = {(c["app"], c["name"]): c for c in before}
    return [_row(known.get((c["app"], c["name"]), {}), c, wall) for c in now]


def _row(before: dict[str, Any], now: dict[str, Any], wall: float) -> Row:
    limits = now.get("limits") or {}
    row: Row = {"app": now["app"], "service": now["name"], "release": now.get("release")}
    row |= {key: now.get(key) for key in HERE}
    row |= {"memory_limit": limits.get("memory_bytes"), "pids_limit": limits.get("pids")}
    row["cpu_limit_percent"] = limits["cpu_millis"] / 10 if limits.get("cpu_millis") else None
    same = all(before.get(key) == now.get(key) for key in ("pid", "started_at"))
    span = now.get("sampled_boottime", 0.0) - before.get("sampled_boottime", 0.0) if same and before else 0.0
    for counter, name in RATES.items():
        first, last = before.get(counter), now.get(counter)
        grown = last - first if span > 0 and first is not None and last is not None and last >= first else None
        if grown is not None:
            grown = grown / span / (1e4 if counter.endswith("_usec") else 1)
        row[name] = None if grown is None else round(grown, 1)
    at = now.get("sampled_at")
    row["age_s"] = None if at is None else max(0, int(wall) - at)
    return row


def as_text(rows: list[Row], width: int) -> str:
    """A table; on a narrow terminal the columns on the right are left out."""
    head = [
        "APP/SERVICE",
        "CPU",
        "MEMORY",
        "PEAK",
        "THROTTLED",
        "PIDS",
        "OOM",
        "READ/WRITE",
        "RX/TX",
        "PRESSURE",
        "AGE",
    ]
    cells = [head, *(_cells(row) for row in rows)]
    if len(rows) == 0:
        return "no containers"
    empty = {at for at in (7, 8, 9) if all(cell[at] == "-" for cell in cells[1:])}
    widths = [max(len(cell[at]) for cell in cells) for at in range(len(head))]
    shown: list[int] = []
    room = width
    for at, wide in enumerate(widths):
        if at not in empty and (not shown or room >= wide):
            shown.append(at)
            room -= wide + 2
    return "\n".join("  ".join(f"{cell[at]:<{widths[at]}}" for at in shown).rstrip()[:width] for cell in cells)


def _cells(row: Row) -> list[str]:
    pressure = [row[f"{name}_pressure_percent"] for name in ("cpu", "memory", "io")]
    return [
        inert(f"{row['app']}/{row['service']}"),
        _of(_percent(row["cpu_percent"]), _percent(row["cpu_limit_percent"]))
        if row["age_s"] is not None
        else row["state"],
        _of(_bytes(row["memory_bytes"]), _bytes(row["memory_limit"])),
        _bytes(row["memory_peak_bytes"]),
        _percent(row["throttled_percent"]),
        _of(_number(row["pids"]), _number(row["pids_limit"])),
        _number(row["oom_kills"]),
        _pair(row["io_read_per_s"], row["io_write_per_s"]),
        _pair(row["net_rx_per_s"], row["net_tx_per_s"]),
        "-" if pressure == [None] * 3 else " ".join(_percent(value) for value in pressure),
        "-" if row["age_s"] is None else f"{row['age_s']} s",
    ]


def _of(value: str, limit: str) -> str:
    return value if limit == "-" else f"{value} of {limit}"


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}%" if value >= 10 or value == 0 else f"{value:.1f}%"


def _pair(first: float | None, second: float | None) -> str:
    return "-" if first is None and second is None else f"{_bytes(first)}/{_bytes(second)}"


def _bytes(value: float | None) -> str:
    if value is None:
        return "-"
    power = 0
    while value >= 1024 and power < len(UNITS) - 1:
        value, power = value / 1024, power + 1
    unit = UNITS[power]
    return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"


def _width() -> int:
    """Of the terminal; what is not shown to a person is not cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 4096


def _draw(rows: list[Row]) -> None:
    size = shutil.get_terminal_size()
    lines = as_text(rows, size.columns).split("\n")
    if len(lines) > size.lines - 1:
        lines = [*lines[: size.lines - 2], f"... {len(lines) - size.lines + 2} more"[: size.columns]]
    sys.stdout.write("\x1b[H" + "".join(f"{line}\x1b[K\r\n" for line in lines) + "\x1b[J")
    sys.stdout.flush()


def _asked_to_end(seconds: float) -> bool:
    """Wait; whether q was pressed meanwhile."""
    if not sys.stdin.isatty():
        time.sleep(seconds)
        return False
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(ready) and os.read(sys.stdin.fileno(), 16).lower() in (b"q", b"")


@contextmanager
def _screen() -> Iterator[None]:
    """The terminal's other screen, keys without Enter; as it was before, however this ends."""
    import termios
    import tty

    keys = sys.stdin.isatty()
    before = termios.tcgetattr(sys.stdin) if keys else []
    try:
        if keys:
            tty.setcbreak(sys.stdin)
        sys.stdout.write("\x1b[?1049h\x1b[?25l")
        yield
    finally:
        if keys:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        sys.stdout.write("\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()
