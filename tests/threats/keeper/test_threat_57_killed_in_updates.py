"""Row 57: daemon, prepare and starters are killed in the middle of updates of real containers.

Some rounds of `./dev prove kills`, with another seed each time; a failure prints it.
"""

from __future__ import annotations

import secrets

import pytest
from prove_kills import prove

ROUNDS = 5  # 6 to 8 s each on two processors


@pytest.mark.alone
@pytest.mark.timeout(240)
def test_threat_57_killed_in_updates_nothing_is_touched_lost_doubled_or_left_behind() -> None:
    assert prove(ROUNDS, secrets.randbelow(1 << 24)) == 0
