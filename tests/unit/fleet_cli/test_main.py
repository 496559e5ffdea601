"""Whatever goes wrong below ends here, with a sentence and a status."""

from __future__ import annotations

import click
import pytest

from fleet_cli import main as program
from fleet_protocol.wire.errors import Exit


def ended(monkeypatch: pytest.MonkeyPatch, fault: BaseException) -> int:
    def broken(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(program.fleet, "main", broken)
    with pytest.raises(SystemExit) as caught:
        program.main([])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_a_file_that_cannot_be_read_is_named_without_a_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(monkeypatch, PermissionError(13, "Permission denied", "/etc/key")) == Exit.OTHER
    said = capsys.readouterr().err
    assert said == "error[E0501] While reading or writing, fleet failed for /etc/key: Permission denied\n"


def test_a_fault_of_ours_is_told_as_one_with_its_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(monkeypatch, KeyError("surprise")) == Exit.OTHER
    *trace, sentence, following = capsys.readouterr().err.splitlines()
    assert trace[0] == "Traceback (most recent call last):"
    assert "E0599" in sentence
    assert "report it" in following


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended(monkeypatch, click.Abort()) == 130


@pytest.mark.parametrize("name", list(program.COMMANDS))
def test_every_command_of_the_table_is_there_and_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        program.main([name, "--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f"Usage: fleet {name} ")


def test_the_version_is_a_flag_too(capsys: pytest.CaptureFixture[str]) -> None:
    for argument in ("--version", "version"):
        with pytest.raises(SystemExit):
            program.main([argument])
        assert capsys.readouterr().out.startswith("fleet ")
