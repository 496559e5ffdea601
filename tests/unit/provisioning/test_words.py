from __future__ import annotations

import re

import pytest

from fleet_protocol.wire.words import WORDS, words


def test_there_are_256_words_for_256_bytes() -> None:
    assert len(WORDS) == len(set(WORDS)) == 256


def test_no_word_can_be_taken_for_another_by_its_first_four_letters() -> None:
    assert len({word[:4] for word in WORDS}) == 256


def test_every_word_is_four_to_seven_plain_letters() -> None:
    assert [word for word in WORDS if not re.fullmatch("[a-z]{4,7}", word)] == []


def test_a_fingerprint_becomes_eight_words_and_each_of_its_first_eight_bytes_counts() -> None:
    zero = "00" * 32
    assert words(zero).split() == [WORDS[0]] * 8
    seen = {words(zero[: 2 * i] + "01" + zero[2 * i + 2 :]) for i in range(8)}
    assert len(seen) == 8


@pytest.mark.parametrize("wrong", ["", "00", "AB" * 32, "zz" * 32, "00" * 33])
def test_what_is_no_fingerprint_has_no_words(wrong: str) -> None:
    with pytest.raises(ValueError, match="not a SHA-256"):
        words(wrong)
