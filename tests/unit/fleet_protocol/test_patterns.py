from __future__ import annotations

import time

import pytest

from fleet_protocol.documents.patterns import check, full_match
from fleet_protocol.wire.errors import DocumentInvalidError


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("[a-z]{1,3}", "abc", True),
        ("[a-z]{1,3}", "abcd", False),
        ("a|b", "ab", False),
        ("a", "a\n", False),
        ("(?i)a", "A", True),
        ("(?m)^a$", "a\nb", False),
        (".*", "a\nb", False),
        ("", "", True),
    ],
)
def test_all_of_the_text_must_match(pattern: str, text: str, matches: bool) -> None:
    assert full_match(pattern, text) is matches


def test_no_pattern_takes_longer_than_the_text_is_long() -> None:
    began = time.monotonic()
    assert not full_match("(a+)+(a+)+(a|a)*", "a" * 50_000 + "b")
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(?=a)b", "look-around"),
        (r"(a)\1", "backreferences"),
        ("[", "unclosed character class"),
        ("x)|(.*", "unopened group"),
        ("a{1000}{1000}{1000}", "size limit"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(pattern: str, reason: str) -> None:
    with pytest.raises(DocumentInvalidError) as caught:
        check(pattern)
    assert reason in caught.value.reason
