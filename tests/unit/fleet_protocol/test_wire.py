"""Topics, durable files and sentences."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_protocol.wire.durable import rename_durably, replace_durably
from fleet_protocol.wire.errors import MAX_SENTENCE, Exit, RoadsteadError, TrustError
from fleet_protocol.wire.topics import FROM_DEVICE, TO_DEVICE, Channel, parse_topic, topic


def test_a_topic_is_read_as_it_was_written() -> None:
    for channel in Channel:
        assert parse_topic(topic("pump-3", channel)) == ("pump-3", channel)
    assert set(TO_DEVICE) | set(FROM_DEVICE) == set(Channel)


@pytest.mark.parametrize("name", ["", "#", "+", "a/b", "a\0", "A", "-a", "a" * 49, "pump-3\n"])
def test_an_identifier_that_could_be_more_than_one_level_is_no_topic(name: str) -> None:
    with pytest.raises(ValueError, match="not a device identifier"):
        topic(name, Channel.DESIRED)
    assert parse_topic(f"roadstead/v1/devices/{name}/desired") is None


@given(st.text(max_size=60))
def test_other_topics_are_not_ours(text: str) -> None:
    assert parse_topic(text) is None
    assert parse_topic(f"roadstead/v1/devices/a/{text}!") is None


def test_a_file_is_replaced_whole_and_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_durably(path, b"one")
    replace_durably(path, b"two", 0o644)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"two", 0o644)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_failed_replacement_leaves_the_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    replace_durably(path, b"one")

    def no_room(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(OSError, match="No space"):
        replace_durably(path, b"two")
    assert path.read_bytes() == b"one"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_directory_moves_between_folders(tmp_path: Path) -> None:
    for folder in ("from", "to"):
        (tmp_path / folder).mkdir()
    (tmp_path / "from" / "a").mkdir()
    rename_durably(tmp_path / "from" / "a", tmp_path / "to" / "b")
    rename_durably(tmp_path / "to" / "b", tmp_path / "to" / "c")
    assert [p.name for p in (tmp_path / "to").iterdir()] == ["c"]


def test_an_error_is_one_sentence_and_the_same_for_a_machine() -> None:
    error = TrustError("it is not signed", element="cam 1.9.0", hint="ask")
    assert str(error) == error.sentence() == "While verifying, verifier failed for cam 1.9.0: it is not signed"
    assert error.as_dict() == {
        "code": "E0200",
        "phase": "verifying",
        "component": "verifier",
        "element": "cam 1.9.0",
        "reason": "it is not signed",
        "hint": "ask",
        "retry": False,
        "sentence": error.sentence(),
    }
    assert error.exit_status == Exit.TRUST


@given(st.text(max_size=900), st.text(max_size=300))
def test_no_error_brings_a_control_character_to_a_terminal(reason: str, element: str) -> None:
    error = RoadsteadError(reason, element=element)
    assert error.sentence().isprintable()
    assert len(error.sentence()) <= MAX_SENTENCE
    assert all(str(v).isprintable() for v in error.as_dict().values())
