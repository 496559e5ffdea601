from __future__ import annotations

from pathlib import Path

import pytest

from fleet_client import contexts
from fleet_client.contexts import Context, ContextError


@pytest.fixture(autouse=True)
def config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "roadstead" / "config.yaml"
    monkeypatch.setenv("ROADSTEAD_CONFIG", str(path))
    return path


def context(tmp_path: Path, name: str = "lab", mode: int = 0o600) -> Context:
    token = tmp_path / f"{name}.token"
    token.write_text("secret\n")
    token.chmod(mode)
    return Context(name, "https://127.0.0.1:8443", tmp_path / "ca.pem", token)


def test_the_first_context_added_becomes_the_current_one(tmp_path: Path) -> None:
    contexts.add(context(tmp_path), use=False)
    assert contexts.load() == context(tmp_path)


def test_a_context_can_be_chosen_by_name_and_made_current(tmp_path: Path) -> None:
    contexts.add(context(tmp_path), use=True)
    contexts.add(context(tmp_path, "prod"), use=False)
    assert contexts.load("prod").name == "prod"
    assert contexts.load().name == "lab"
    contexts.use("prod")
    assert contexts.names() == (["lab", "prod"], "prod")


def test_yaml_written_by_hand_is_read(config_file: Path, tmp_path: Path) -> None:
    config_file.parent.mkdir()
    config_file.write_text(
        f"current: lab  # the small one\ncontexts:\n  lab:\n    server: https://lab:8443/\n"
        f"    ca_file: {tmp_path}/ca.pem\n    token_file: {tmp_path}/t\n"
    )
    assert contexts.load().server == "https://lab:8443"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not YAML"),
        ("- a\n", "wants a mapping"),
        ("current: x\n", "there is no context 'x' (known: none)"),
        ("", "wants a mapping"),
        ("current: lab\ncontexts: {lab: {server: s}}\n", "lacks 'ca_file'"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(config_file: Path, text: str, words: str) -> None:
    config_file.parent.mkdir()
    config_file.write_text(text)
    with pytest.raises(ContextError) as caught:
        contexts.load()
    assert words in caught.value.sentence()
    assert str(config_file) in caught.value.sentence()


def test_without_any_file_the_next_command_is_said() -> None:
    with pytest.raises(ContextError) as caught:
        contexts.load()
    assert caught.value.reason == "no server is chosen yet"
    assert caught.value.hint.startswith("fleet ctx add")


def test_a_token_that_others_may_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContextError) as caught:
        context(tmp_path, mode=0o644).token()
    assert caught.value.hint.startswith("chmod 600")


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "is empty"), (b" \n", "is empty"), (b"a b", "one word"), (b"a\nb", "one word"), (b"\xff", "ASCII")],
)
def test_what_is_no_token_is_refused_before_it_is_sent(tmp_path: Path, data: bytes, words: str) -> None:
    made = context(tmp_path)
    made.token_file.write_bytes(data)
    with pytest.raises(ContextError, match=words):
        made.token()


@pytest.mark.parametrize(("data", "words"), [(b"\xff\xfe", "not UTF-8"), (b"[" * 100_000, "too deep")])
def test_a_file_of_noise_is_no_trace(config_file: Path, data: bytes, words: str) -> None:
    config_file.parent.mkdir()
    config_file.write_bytes(data)
    with pytest.raises(ContextError, match=words):
        contexts.load()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADSTEAD_CONFIG", "/proc/nowhere/config.yaml")
    with pytest.raises(ContextError, match=r"/proc/nowhere/config\.yaml: cannot write it"):
        contexts.add(context(tmp_path), use=True)


def test_contexts_are_listed_with_what_they_lack_left_empty(config_file: Path) -> None:
    config_file.parent.mkdir()
    config_file.write_text("current: a\ncontexts: {a: {server: 'https://a'}, b: 3}\n")
    assert [(r["name"], r["current"], r["server"], r["environment"]) for r in contexts.listed()] == [
        ("a", True, "https://a", ""),
        ("b", False, "", ""),
    ]
