"""`./dev shot`: the README's picture, made of what the real commands print while the demo runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from demo import machine
from demo.steps import BIN, CONFIG, WORK
from fleet_protocol.wire.durable import replace_durably

PICTURE = Path(__file__).parents[1] / "docs" / "fleet.svg"
COMMANDS = (
    ("fleet", "get", "devices", "-o", "wide"),
    ("fleet", "describe", "device", "edge-1"),
)


def main() -> int:
    """Write docs/fleet.svg. The demo must run."""
    if not machine.pid_of("server"):
        print("The demo does not run. Start it:  ./dev demo", file=sys.stderr)
        return 1
    console = Console(record=True, width=118, file=Path("/dev/null").open("w"), force_terminal=True)  # noqa: SIM115
    for command in COMMANDS:
        console.print(Text(f"$ {' '.join(command)}", style="bold"))
        console.print(Text.from_ansi(_printed(command)))
    picture = console.export_svg(title="fleet")
    # The reader's own monospace font will do: a picture fetches nothing.
    replace_durably(PICTURE, re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL).encode(), 0o644)
    print(f"wrote {PICTURE}")
    return 0


def _printed(command: tuple[str, ...]) -> str:
    """What a person sees: the command gets a terminal of its own."""
    shown = f"{BIN}/{' '.join(command)}"
    done = subprocess.run(
        ["script", "-qec", shown, "/dev/null"],
        cwd=WORK,
        env={"XDG_CONFIG_HOME": str(CONFIG), "PATH": "/usr/bin:/bin", "TERM": "xterm-256color"},
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout.replace("\r\n", "\n")


if __name__ == "__main__":
    sys.exit(main())
