"""docs/compose-keys.md, made from the tables that read compose files: `python -m fleet_release.compose.page FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

from fleet_protocol.wire.durable import replace_durably
from fleet_release.compose import keys
from fleet_release.compose.keys import Fate, Key

SECTIONS: tuple[tuple[str, dict[str, Key]], ...] = (
    ("Top level", keys.TOP),
    ("services.*", keys.SERVICE),
    ("services.*.healthcheck", keys.HEALTHCHECK),
    ("services.*.post_start, services.*.pre_stop", keys.HOOK),
    ("services.*.ulimits", keys.ULIMITS),
    ("services.*.blkio_config", keys.BLKIO),
    ("services.*.blkio_config.device_*", keys.BLKIO_RATE),
    ("networks.*", keys.NETWORK),
    ("volumes.*", keys.VOLUME),
    ("configs.*", keys.CONFIG),
    ("secrets.*", keys.SECRET),
)
HEAD = """# Compose keys

Made from the tables that `fleet lint` uses. A key is **honoured** as it is, **translated** into what does the same,
**noted** (accepted, without effect, and printed), or **refused** with a reason. A key that stands nowhere here is an
error, with a suggestion.
"""


def page() -> str:
    """The whole page as Markdown."""
    return HEAD + "".join(_section(title, table) for title, table in SECTIONS)


def _section(title: str, table: dict[str, Key]) -> str:
    honoured = ", ".join(f"`{name}`" for name in sorted(n for n, key in table.items() if key.fate is Fate.HONOURED))
    others = sorted((key.fate.value, key.why, name, key.harmless) for name, key in table.items() if key.why)
    rows = [f"| `{name}` | {fate} | {why}{_harmless(harmless)} |" for fate, why, name, harmless in others]
    parts = [f"\n## {title}\n"]
    if honoured:
        parts.append(f"\nHonoured: {honoured}\n")
    if rows:
        parts.append("\n| key | | |\n|---|---|---|\n" + "\n".join(rows) + "\n")
    return "".join(parts)


def _harmless(values: tuple[str, ...]) -> str:
    shown = [f"`{value}`" for value in values if value]
    return f" ({' or '.join(shown)} passes)" if shown else ""


if __name__ == "__main__":
    replace_durably(Path(sys.argv[1]).absolute(), page().encode(), 0o644)
