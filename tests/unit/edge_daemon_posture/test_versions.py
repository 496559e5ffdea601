from __future__ import annotations

import pytest

from edge_daemon.posture.versions import FAULTS, faults_of, has, parse

OLD, THREE, MASKED, EXEC = FAULTS


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1.1.5+ds1", (1, 1, 5, 1 << 30)),
        ("1.4.0-rc.3", (1, 4, 0, 3)),
        ("1.4.0~rc3", (1, 4, 0, 3)),
        ("v1.27", (1, 27, 0, 1 << 30)),
        ("1.8.1", (1, 8, 1, 1 << 30)),
        ("", None),
        ("unknown", None),
    ],
)
def test_versions_are_read_as_programs_write_them(text: str, version: tuple[int, ...] | None) -> None:
    assert parse(text) == version


@pytest.mark.parametrize(
    ("version", "vulnerable"),
    [
        ("1.1.15", True), ("1.2.7", True), ("1.2.8", False), ("1.2.9", False), ("1.3.0", True), ("1.3.2", True),
        ("1.3.3", False), ("1.4.0-rc.2", True), ("1.4.0-rc.3", False), ("1.4.0", False), ("1.5.0", False),
        ("2.0.0", False), ("nonsense", None),
    ],
)  # fmt: skip
def test_a_branch_is_mended_from_its_own_floor_on(version: str, vulnerable: bool | None) -> None:
    assert has(THREE, version) is vulnerable


@pytest.mark.parametrize(
    ("version", "vulnerable"),
    [
        ("1.2.9", True),
        ("1.3.5", True),
        ("1.3.6", False),
        ("1.4.2", True),
        ("1.4.3", False),
        ("1.5.0-rc.1", True),
        ("1.5.0", False),
    ],
)
def test_the_newest_fault_of_runc_has_floors_in_three_branches(version: str, vulnerable: bool) -> None:
    assert has(MASKED, version) is vulnerable


@pytest.mark.parametrize(
    ("package", "vulnerable"),
    [("1.1.5+ds1-1+deb12u1", False), ("1.1.5+ds1-1+deb12u2", False), ("1.1.5+ds1-1+b1", True), ("", True)],
)
def test_a_distributions_own_fix_counts(package: str, vulnerable: bool) -> None:
    assert has(OLD, "1.1.5+ds1", package) is vulnerable


def test_crun_is_mended_from_1_27_on() -> None:
    assert [f.name for f in faults_of("crun", "1.8.1")] == [EXEC.name]
    assert faults_of("crun", "1.27") == []
    assert faults_of("conmon", "2.1.6") == []
