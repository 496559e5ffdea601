"""Every module of the keeper stands in docs/architecture.md, and every one that stands there is a module."""

from __future__ import annotations

import re
from pathlib import Path

from edge_daemon import keeper

ROOT = Path(__file__).parents[2]
FOLDER = Path(str(keeper.__file__)).parent


def test_the_table_of_the_keepers_modules_is_whole() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text.partition("## The keeper's modules")[2].partition("\n## ")[0].partition("|---|")[2]
    named = set(re.findall(r"`([a-z_]+)`", table))
    modules = {path.stem for path in FOLDER.glob("[a-z]*.py")}
    assert named == modules
