from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_release.findings import did_you_mean
from fleet_release.values import (
    name_of,
    parse_cpus,
    parse_duration,
    parse_percent,
    parse_platform,
    parse_size,
    show_size,
    whole_seconds,
)


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_size, "64Mi", 64 << 20),
        (parse_size, "64m", 64 << 20),
        (parse_size, "64MB", 64 << 20),
        (parse_size, "0.5g", 512 << 20),
        (parse_size, "67108864", 64 << 20),
        (parse_size, "10b", 10),
        (parse_duration, "1m30s", 90.0),
        (parse_duration, "500ms", 0.5),
        (parse_duration, "2w", 1_209_600.0),
        (whole_seconds, "1500ms", 2),
        (parse_percent, "2.5%", 2.5),
        (parse_cpus, "0.25", 250),
        (parse_cpus, 2, 2000),
        (parse_platform, "armv7", "linux/arm/v7"),
        (parse_platform, "linux/amd64", "linux/amd64"),
        (name_of, "My_App (2)", "my-app-2"),
    ],
)
def test_values_are_read_as_people_write_them(parse: Callable[[object], object], text: object, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text", "says"),
    [
        (parse_size, "64 apples", '"64 apples" is not a size such as 64Mi'),
        (parse_size, "-1", '"-1" is not a size such as 64Mi'),
        (parse_size, "99999999t", '"99999999t" is larger than anything here'),
        (parse_duration, "10", '"10" is not a duration such as 10s or 1m30s'),
        (parse_duration, "1m30", '"1m30" is not a duration such as 10s or 1m30s'),
        (parse_duration, "1000w", '"1000w" is longer than ten years'),
        (parse_percent, "101%", '"101%" is not a percentage such as 2%'),
        (parse_cpus, "0", '"0" cores are not possible: 0.01 to 1024'),
        (parse_cpus, "many", '"many" is not a number of cores such as 0.25'),
    ],
)
def test_values_that_mean_nothing_are_refused_with_an_example(
    parse: Callable[[object], object], text: object, says: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the whole sentence is compared
        parse(text)
    assert str(caught.value) == says


@given(st.integers(min_value=1, max_value=1 << 50))
def test_a_size_that_is_shown_reads_as_itself(count: int) -> None:
    assert parse_size(show_size(count)) == count


@pytest.mark.parametrize(
    ("word", "meant"),
    [("mem_limt", "mem_limit"), ("memLimit", "mem_limit"), ("enviroment", "environment"), ("zzz", "")],
)
def test_a_misspelt_word_finds_the_one_that_was_meant(word: str, meant: str) -> None:
    assert did_you_mean(word, ["mem_limit", "environment", "ports"]) == meant
