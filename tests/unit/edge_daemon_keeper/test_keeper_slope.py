"""How fast memory grows: what is a leak, what is none, and what cannot be told."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_daemon.keeper.slope import LEAST_SAMPLES, MOST_SAMPLES, Sample, Slope, every, median, percent, slope

MIB = 1 << 20
LIMIT = 64 * MIB


def series(held: list[float], every_s: float = 2.0) -> list[Sample]:
    return [Sample(100 + n * every_s, int(mib * MIB)) for n, mib in enumerate(held)]


STORIES = [
    pytest.param([8.0] * 24, Slope(0.0, certain=False), id="nothing changes"),
    pytest.param([8 + n * 0.1 for n in range(24)], Slope(281.25, certain=True), id="it grows all the time"),
    pytest.param([8 + n * 0.1 + (8 if n % 6 == 5 else 0) for n in range(24)], Slope(281.25, certain=True),
                 id="it grows under bursts"),
    pytest.param([8.0] * 18 + [40.0] * 6, Slope(0.0, certain=False), id="one late step is no leak"),
    pytest.param([8.0, 8.1] * 12, Slope(0.0, certain=False), id="to and fro is no leak"),
    pytest.param([20 - n * 0.1 for n in range(24)], Slope(-281.25, certain=False), id="it shrinks"),
    pytest.param([8 + n / 128 for n in range(24)], Slope(21.97, certain=False),
                 id="steep for an hour, nothing in itself"),
]  # fmt: skip


@pytest.mark.parametrize(("held", "found"), STORIES)
def test_what_a_series_of_samples_means(held: list[float], found: Slope) -> None:
    told = slope(series(held), LIMIT, since=0)

    assert told is not None
    assert told.certain == found.certain
    assert told.percent_per_h == pytest.approx(found.percent_per_h, rel=0.05, abs=0.01)


def test_what_is_taken_while_it_starts_is_not_looked_at() -> None:
    starts = series([n * 2.0 for n in range(12)] + [24.0] * 12)

    late = slope(starts, LIMIT, since=124.0)

    assert late == Slope(0.0, certain=False)
    assert slope(starts, LIMIT, since=0).percent_per_h > 100  # type: ignore[union-attr]


def test_fewer_samples_than_needed_say_nothing() -> None:
    assert slope(series([8.0] * (LEAST_SAMPLES - 1)), LIMIT, since=0) is None
    assert slope(series([8.0] * 30), LIMIT, since=1e9) is None
    assert slope(series([8.0] * 30), 0, since=0) is None
    assert slope([Sample(1.0, n) for n in range(30)], LIMIT, since=0) is None


def test_a_window_is_sampled_often_enough_to_be_judged_and_never_all_the_time() -> None:
    for window_s in (5, 10, 60, 3600, 86400):
        left = int(window_s * 0.75 / every(window_s))
        assert LEAST_SAMPLES <= left <= MOST_SAMPLES
    assert every(1) == 0.25


@given(
    st.lists(st.integers(0, 1 << 40), min_size=LEAST_SAMPLES, max_size=MOST_SAMPLES),
    st.floats(0.25, 3600),
    st.integers(1, 1 << 40),
)
def test_it_lies_between_the_steepest_steps_and_is_certain_only_of_a_growth(
    held: list[int], every_s: float, limit: int
) -> None:
    samples = [Sample(n * every_s, one) for n, one in enumerate(held)]

    told = slope(samples, limit, since=0)

    assert told is not None
    steps = [(b.anon_bytes - a.anon_bytes) / every_s * 3600 * 100 / limit for a, b in pairwise(samples)]
    assert min(steps) <= told.percent_per_h * (1 + 1e-9) + 1e-9 or told.percent_per_h == pytest.approx(min(steps))
    assert told.percent_per_h <= max(steps) or told.percent_per_h == pytest.approx(max(steps))
    assert not told.certain or told.percent_per_h > 0


@given(st.integers(1, 1000), st.integers(0, 4), st.integers(0, 1 << 20))
def test_a_few_wild_samples_do_not_hide_a_leak(step_kib: int, wild: int, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    held = [8 * MIB + n * step_kib * 1024 for n in range(24)]
    for n in chance.sample(range(24), wild):
        held[n] = chance.randrange(0, 64 * MIB)

    told = slope([Sample(2.0 * n, one) for n, one in enumerate(held)], LIMIT, since=0)

    assert told is not None
    assert told.percent_per_h > 0


def test_middle_and_percent() -> None:
    assert (median([]), median([5]), median([3, 1, 2]), median([4, 1])) == (None, 5, 2, 4)
    assert (percent(None, 5), percent(1, None), percent(1, 0), percent(1, 3)) == (None, None, None, 33)
