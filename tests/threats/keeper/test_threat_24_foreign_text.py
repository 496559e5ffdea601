"""Row 24: what a container writes steers no terminal of whoever reads its log on the host.

Names and versions cannot carry such text: documents refuse it. What a probe says is covered with the local commands.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

import pytest
from keeper_support import Host

ESCAPES = "\x1b[2J\x1b]0;owned\x07\u202egnp.exe\u200b\x9b31m\r\x08"
STEERS = {"\x1b", "\x07", "\x08", "\r", "\x9b", "\u202e", "\u200b"}


@pytest.mark.parametrize("more", [[], ["-o", "json"], ["-f"], ["-f", "-o", "json"]], ids=" ".join)
def test_threat_24_foreign_text_in_a_log_is_made_inert(edge: Host, more: list[str]) -> None:
    edge.online()
    edge.apply({"shop": {"release": "1.0", "services": ["web"]}})
    folder = edge.layout.logs / "shop" / "web"
    folder.mkdir(parents=True, exist_ok=True)
    line = f"2026-03-01T12:00:00.1Z stdout F before {ESCAPES} after\n"
    (folder / "ctr.log").write_text(line, encoding="utf-8", newline="")

    words = [sys.executable, "-X", "utf8", "-m", "edge_daemon.main", "logs", "shop", *more]
    with subprocess.Popen([*words, "--run-dir", str(edge.layout.run)], stdout=subprocess.PIPE) as reading:
        assert reading.stdout is not None
        with suppress(subprocess.TimeoutExpired):
            reading.wait(2.0)
        with (folder / "ctr.log").open("a", encoding="utf-8", newline="") as log:
            log.write(line.replace("after", "later"))
        with suppress(subprocess.TimeoutExpired):
            reading.wait(1.5)
        reading.terminate()
        text = reading.stdout.read().decode()
    assert "before" in text
    assert "after" in text
    assert ("later" in text) == ("-f" in more)
    assert not STEERS & set(text), repr(text)
