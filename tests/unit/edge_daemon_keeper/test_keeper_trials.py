"""What is written down of trials, quarantine and holds, and how holds live over reboots and wrong clocks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_daemon.commands.lengths import LengthError, seconds
from edge_daemon.keeper.db import KeeperDb
from edge_daemon.keeper.plans import group_of, returnable
from edge_daemon.keeper.records import MOST_QUARANTINED, AppRow, HoldRow, QuarantineRow, Records, ServiceRow, TrialRow
from edge_daemon.keeper.trials import carried_over
from edge_daemon.layout import Layout

DAY = 86400
HOLD = HoldRow("shop", "a" * 64, "b" * 64, "1.0", until=10 * DAY, length=DAY, boot="one", until_boottime=500.0)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[KeeperDb]:
    opened = KeeperDb(tmp_path / "keeper.db")
    yield opened
    opened.close()


CARRIED = [
    ("in the same boot nothing changes", "one", 10 * DAY - 60, 500.0),
    ("in another boot what is left counts", "two", 10 * DAY - 60, 100.0 + 60),
    ("what ended while the host was off is over", "two", 11 * DAY, 100.0),
    ("a clock before the hold was made is not believed: all of it again", "two", 0, 100.0 + DAY),
]


@pytest.mark.parametrize(("boot", "wall", "until"), [row[1:] for row in CARRIED], ids=[row[0] for row in CARRIED])
def test_a_hold_in_another_boot(boot: str, wall: int, until: float) -> None:
    assert carried_over(HOLD, boot, 100.0, wall) == HOLD._replace(boot=boot, until_boottime=until)


def test_everything_is_there_again_when_the_file_is_opened_anew(db: KeeperDb) -> None:
    records = Records(db)
    trial, barred = TrialRow("shop", "c" * 64, "one", 1, 5.5, "why"), quarantined(1)
    records.put_trial(trial)
    records.put_quarantine(barred)
    records.put_hold(HOLD)

    again = Records(db)

    assert again.trial("shop") == trial
    assert again.quarantined("shop", barred.revision) == barred
    assert again.hold("shop") == HOLD
    assert again.known() == {"shop"}


def test_lifting_forgets_what_the_revision_did_and_nothing_of_other_apps(db: KeeperDb) -> None:
    records = Records(db)
    barred, other = quarantined(1), quarantined(2)._replace(app="blog")
    records.put_quarantine(barred)
    records.put_quarantine(other)
    records.put_service(ServiceRow("shop", "web", barred.revision, restarts=3))

    assert records.lift("shop") == [barred]

    assert records.quarantined("shop", barred.revision) is None
    assert records.service("shop", "web", barred.revision).restarts == 0
    assert records.quarantined("blog", other.revision) == other
    assert records.lift("shop") == []


def test_lifting_leaves_the_trial_of_another_revision_as_it_is(db: KeeperDb) -> None:
    records = Records(db)
    trial = TrialRow("shop", "c" * 64, "one", 1, 5.5)
    records.put_trial(trial)
    records.put_quarantine(quarantined(1))

    records.lift("shop")

    assert Records(db).trial("shop") == records.trial("shop") == trial


def test_the_quarantine_of_an_app_is_bounded_and_the_oldest_give_way(db: KeeperDb) -> None:
    records = Records(db)
    for number in range(MOST_QUARANTINED + 3):
        records.put_quarantine(quarantined(number))

    again = Records(db)
    kept = [n for n in range(MOST_QUARANTINED + 3) if again.quarantined("shop", quarantined(n).revision)]
    assert kept == list(range(3, MOST_QUARANTINED + 3))
    assert [n for n in kept if records.quarantined("shop", quarantined(n).revision)] == kept


def test_an_app_that_left_the_host_leaves_nothing(db: KeeperDb) -> None:
    records = Records(db)
    records.put_quarantine(quarantined(1))
    records.put_hold(HOLD)
    records.put_trial(TrialRow("shop", "c" * 64, "one", 1, 5.5))

    records.forget("shop")

    assert records.known() == set()
    assert records.holds() == []
    assert Records(db).quarantined("shop", quarantined(1).revision) is None


def test_a_last_good_that_is_gone_from_the_disk_cannot_be_gone_back_to(tmp_path: Path) -> None:
    layout = Layout(tmp_path, tmp_path / "run")

    assert returnable(layout, AppRow("shop")) == "there is no last good to go back to"
    assert "No such file" in returnable(layout, AppRow("shop", "", "d" * 64, "e" * 64, "1.0"))


@pytest.mark.parametrize(("text", "long"), [("90s", 90), ("30m", 1800), ("12h", 43200), ("1d", DAY)])
def test_lengths_of_a_hold(text: str, long: int) -> None:
    assert seconds(text) == long


@pytest.mark.parametrize("text", ["", "d", "1", "1w", "-1d", "0d", "1.5h", "9999999d", "\u0663d"])
def test_what_is_no_length_is_refused(text: str) -> None:
    with pytest.raises(LengthError, match="is not a length of time"):
        seconds(text)


def quarantined(number: int) -> QuarantineRow:
    return QuarantineRow("shop", f"{number:064x}", f"1.0.{number}", "web ended by itself", "judge", 1000 + number)


GROUPS = {
    "a": frozenset({"b"}), "b": frozenset[str](), "c": frozenset({"b", "gone"}), "d": frozenset[str](),
    "e": frozenset({"e"}),
}  # fmt: skip


@pytest.mark.parametrize(
    ("app", "others"), [("a", ["b", "c"]), ("b", ["a", "c"]), ("c", ["a", "b"]), ("d", []), ("e", []), ("none", [])]
)
def test_who_moves_together(app: str, others: list[str]) -> None:
    assert group_of(app, GROUPS) == others
