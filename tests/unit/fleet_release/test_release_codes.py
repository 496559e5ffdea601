"""Every code that the package can say has its paragraph, and every paragraph is about a code that it says."""

from __future__ import annotations

import re
from pathlib import Path

from fleet_release.codes import EXPLANATIONS
from fleet_release.images.errors import EXPLANATIONS as OF_IMAGES
from fleet_release.release import explain

SOURCES = Path(__file__).parents[3] / "fleet_release"


def used() -> set[str]:
    files = [p for p in SOURCES.rglob("*.py") if "trust" not in p.parts and p.name != "codes.py"]
    return {c for p in files for c in re.findall(r'"([EN]0[48][0-9]{2})"(?!:)', p.read_text())}


def test_every_code_is_explained_and_every_explanation_is_of_a_code() -> None:
    known = {*EXPLANATIONS, *OF_IMAGES}
    assert used() - known - {"E0831"} == set()
    assert known - used() == set()


def test_explanations_are_found_however_a_code_is_typed() -> None:
    assert explain(" e0412 ") == EXPLANATIONS["E0412"]
    assert explain("E0801") == OF_IMAGES["E0801"]
    assert explain("E9999") is None
