"""Pages that are made from code are the code's."""

from __future__ import annotations

from pathlib import Path

from edge_daemon.posture import limits_page
from fleet_release.compose.page import page

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_compose_keys_is_what_lint_does() -> None:
    assert (DOCS / "compose-keys.md").read_text() == page()


def test_the_page_of_limits_is_what_the_daemon_does() -> None:
    assert (DOCS / "limits.md").read_text() == limits_page.page()


def test_every_link_of_the_documents_leads_somewhere() -> None:
    import re

    broken = [
        f"{path.name}: {target}"
        for path in [DOCS.parent / "README.md", *DOCS.rglob("*.md")]
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text())
        if not (path.parent / target).exists()
    ]
    assert broken == []
