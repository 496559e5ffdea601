from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.proof import enrol_proof, poll_proof, renewal_message, session_message
from provisioning.token import Token, TokenInvalidError, encode, parse

SECRET = base64.urlsafe_b64encode(bytes(range(32))).rstrip(b"=").decode()
GOOD = Token("https://fleet.example:8443", "ab" * 32, "cd" * 32, "abcdefgh12345678", SECRET)


def text_of(**parts: Any) -> str:
    fields = {"u": GOOD.url, "c": GOOD.ca_sha256, "r": GOOD.root_sha256, "t": GOOD.token_id, "s": SECRET, **parts}
    kept = {k: v for k, v in fields.items() if v is not None}
    return "rs1." + base64.urlsafe_b64encode(json.dumps(kept).encode()).rstrip(b"=").decode()


def test_a_token_comes_back_as_it_was_with_white_space_around_it() -> None:
    assert parse(f"  {encode(GOOD)}\n") == GOOD


def test_a_token_never_shows_its_secret_when_it_is_printed() -> None:
    assert SECRET not in f"{GOOD!r} {GOOD}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "does not start with rs1.", id="nothing"),
        pytest.param("rs2.abcd", "does not start with rs1.", id="a later kind"),
        pytest.param("rs1." + "A" * 3000, "has 3004 characters", id="endless"),
        pytest.param(encode(GOOD)[:-9], "was not copied as a whole", id="cut short"),
        pytest.param("rs1.!!!!", "was not copied as a whole", id="no base64"),
        pytest.param("rs1." + base64.urlsafe_b64encode(b"[1]").decode().rstrip("="), "something else", id="a list"),
        pytest.param(text_of(r=None), "lacks root pin", id="without a pin"),
        pytest.param(text_of(x="y"), "parts that do not belong", id="with more than a token"),
        pytest.param(text_of(c="AB" * 32), "CA pin is not a SHA-256", id="upper-case pin"),
        pytest.param(text_of(r=5), "root pin is not text", id="a number as pin"),
        pytest.param(text_of(t="../../etc"), "token id is not one", id="a path as id"),
        pytest.param(text_of(u="http://fleet.example"), "not an https address", id="plain http"),
        pytest.param(text_of(s="AAAA"), "has 24 bits", id="short secret"),
        pytest.param(text_of(s="*" * 43), "not base64url", id="odd secret"),
    ],
)
def test_what_is_no_token_is_refused_with_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(TokenInvalidError, match=words) as caught:
        parse(text)
    assert SECRET not in caught.value.sentence()


@given(st.text(max_size=300))
def test_any_text_is_a_token_or_a_clear_refusal(text: str) -> None:
    for whole in (text, "rs1." + text):
        with pytest.raises(TokenInvalidError):
            parse(whole)


def test_proofs_for_different_purposes_and_parts_all_differ() -> None:
    other = base64.urlsafe_b64encode(bytes(32)).rstrip(b"=").decode()
    made = {
        enrol_proof(SECRET, "nonce", b"csr"),
        enrol_proof(SECRET, "nonce2", b"csr"),
        enrol_proof(SECRET, "nonce", b"csr2"),
        enrol_proof(other, "nonce", b"csr"),
        poll_proof(SECRET, "nonce"),
        poll_proof(SECRET, "request"),
    }
    assert len(made) == 6
    assert session_message("a", "bc") != session_message("ab", "c")
    assert renewal_message("a", "b", b"c")[:24] != session_message("a", "b")[:24]
