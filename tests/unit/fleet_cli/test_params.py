from __future__ import annotations

import click
import pytest

from fleet_cli import params
from fleet_cli.params import APP, DEVICE, LABEL, VERSION, DurationType


@pytest.mark.parametrize("text", ["site=lyon", "a.b_c-d=x/y:1"])
def test_labels_become_pairs(text: str) -> None:
    assert LABEL.convert(text, None, None) == tuple(text.split("="))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("site", "wants KEY=VALUE"),
        ("=x", "label's key"),
        ("Site=x", "label's key"),
        ("site=", "label's value"),
        ("site=a b", "label's value"),
        ("site=\x1b", "label's value"),
    ],
)
def test_a_label_that_no_server_would_take_is_refused_here(text: str, words: str) -> None:
    with pytest.raises(click.BadParameter, match=words):
        LABEL.convert(text, None, None)


@pytest.mark.parametrize(("text", "count"), [("60s", 60), ("30m", 1800), ("24h", 86400), ("7d", 604800)])
def test_durations_keep_what_was_typed(text: str, count: int) -> None:
    assert DurationType("1m", "30d").convert(text, None, None) == text
    assert params.seconds(text) == count


@pytest.mark.parametrize("text", ["", "s", "5", "59s", "31d", "-1h", "1.5h", "\u0663d", "99999999999d", "1h "])
def test_a_duration_that_is_none_or_out_of_bounds_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="wants"):
        DurationType("1m", "30d").convert(text, None, None)


def test_names_are_those_of_the_contract() -> None:
    assert APP.convert("cam", None, None) == "cam"
    assert DEVICE.convert("a" * 48, None, None) == "a" * 48
    assert VERSION.convert("1.9.0-rc.1", None, None) == "1.9.0-rc.1"
    for kind, text in ((APP, "Cam"), (APP, "c" * 33), (DEVICE, "a" * 49), (VERSION, "../x"), (VERSION, "")):
        with pytest.raises(click.BadParameter, match="cannot be a name"):
            kind.convert(text, None, None)
