"""Everything that can be typed wrongly or be missing: one clear sentence, the documented status, nothing lost."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_support import Operator
from server_process_support import ServerUnderTest

from fleet_protocol.wire.errors import Exit


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["relese"], Exit.USAGE, "Did you mean 'release'?"),
        (["get", "devices", "-o", "xml"], Exit.USAGE, "is not one of"),
        (["get", "devices", "-l", "site="], Exit.USAGE, "a value is wanted"),
        (["get", "devices", "--state", "bored"], Exit.USAGE, "is not one of"),
        (["get", "events", "--limit", "0"], Exit.USAGE, "1<=x<=1000"),
        (["get", "devices", "nobody"], Exit.NOT_FOUND, "there is no such device"),
        (["describe", "device", "../../x"], Exit.NOT_FOUND, "there is no such"),
        (["describe", "device", "\x1b[31mred\u202e"], Exit.NOT_FOUND, "\N{REPLACEMENT CHARACTER}[31mred"),
        (["enroll", "token", "--uses", "0"], Exit.USAGE, "--uses"),
        (["enroll", "token", "--ttl", "5s"], Exit.USAGE, "wants 1m to 30d"),
        (["enroll", "token", "--label", "A b=c"], Exit.USAGE, "cannot be a label's key"),
        (["enroll", "token", "--name", "edge-1", "--uses", "2"], Exit.USAGE, "--name names one device"),
        (["enroll", "approve", "nobody", "--yes"], Exit.NOT_FOUND, "nobody asks under that name"),
        (["enroll", "approve", "nobody"], Exit.USAGE, "--yes"),
        (["trust", "delegate", "No App"], Exit.USAGE, "cannot be a name"),
        (["withdraw", "shop", "--effect", "stop", "--yes"], Exit.USAGE, "wants APP@VERSION"),
        (["withdraw", "nope@1", "--effect", "stop", "--yes", "--lock", "none"], Exit.TRUST, "names no one"),
        (["release", "--platform", "vax"], Exit.USAGE, "is not a platform"),
        (["release", "--image", "web"], Exit.USAGE, "wants NAME=PATH"),
        (["release", "--key", "/"], Exit.USAGE, "is a directory"),
        (["release", "--min-counter", "-1"], Exit.USAGE, "x>=1"),
        (["release", "-f", "nowhere"], Exit.OTHER, "nowhere cannot be read"),
        (["plan", "-f", "app.yaml"], Exit.OTHER, "error(s); nothing was changed."),
        (["apply", "--plan", "/"], Exit.USAGE, "is a directory"),
        (["lint", "/dev/zero"], Exit.OTHER, "is not an ordinary file"),
        (["--context", "nowhere", "get", "devices"], Exit.USAGE, "there is no context 'nowhere'"),
        (["ctx", "use", "nowhere"], Exit.USAGE, "(known: lab)"),
        (["explain", "E9999"], Exit.NOT_FOUND, "is not a code"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_sentence(
    operator: Operator, arguments: list[str], status: Exit, words: str
) -> None:
    said = operator.here(*arguments, status=status)
    assert words in said.err
    assert said.out == ""


def flags(operator: Operator, **over: str) -> list[str]:
    usual = dict(zip(*[iter(operator.server_flags())] * 2, strict=True))
    given = {**usual, **{f"--{k.replace('_', '-')}": v for k, v in over.items()}}
    return [part for pair in given.items() for part in pair]


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"server": "http://localhost:1"}, "must be https://HOST:PORT"),
        ({"server": "https://localhost:99999"}, "must be https://HOST:PORT"),
        ({"server": "https://me@localhost:1/x"}, "must be https://HOST:PORT"),
        ({"ca_file": "/etc/hostname"}, "holds no certificate"),
        ({"ca_file": "/nowhere"}, "does not exist"),
        ({"token_file": "others.token"}, "others may read the token"),
        ({"token_file": "empty.token"}, "it is empty"),
        ({"token_file": "binary.token"}, "holds more than ASCII"),
        ({"token_file": "lines.token"}, "not one word"),
    ],
)
def test_a_server_that_cannot_be_used_is_not_added(operator: Operator, over: dict[str, str], words: str) -> None:
    for name, data, mode in (
        ("others", b"x", 0o644), ("empty", b"\n", 0o600), ("binary", b"\xcb\xff", 0o600), ("lines", b"a\nb", 0o600),
    ):  # fmt: skip
        path = operator.folder / f"{name}.token"
        path.write_bytes(data)
        path.chmod(mode)
    said = operator.here("ctx", "add", "other", *flags(operator, **over), status=Exit.USAGE)
    assert words in said.err
    assert operator.fleet("ctx", "list", "-o", "name").out == "lab\n"


def test_a_token_that_the_server_does_not_know_is_not_allowed(operator: Operator) -> None:
    path = operator.write("wrong.token", "wrong\n")
    path.chmod(0o600)
    config = {"ROADSTEAD_CONFIG": str(operator.folder / "wrong.yaml")}
    operator.fleet("ctx", "add", "w", *flags(operator, token_file=str(path)), **config)
    assert "token is not known" in operator.fleet("get", "devices", status=Exit.NOT_ALLOWED, **config).err


def test_a_server_under_another_ca_is_a_matter_of_trust_and_nobody_there_is_unreachable(
    operator: Operator, tmp_path: Path
) -> None:
    import trustme

    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    config = {"ROADSTEAD_CONFIG": str(tmp_path / "c.yaml")}
    operator.fleet("ctx", "add", "w", *flags(operator, ca_file=str(tmp_path / "other.pem")), **config)
    assert "does not stand under the pinned CA" in operator.fleet("plan", status=Exit.TRUST, **config).err
    operator.fleet("ctx", "add", "w", *flags(operator, server="https://localhost:1"), **config)
    for command in (["get", "devices"], ["plan"], ["apply", "--yes"], ["release"], ["enroll", "token"]):
        assert "connection refused" in operator.fleet(*command, status=Exit.UNREACHABLE, **config).err


def test_a_full_disk_is_said_and_a_closed_pipe_is_no_fault(operator: Operator) -> None:
    program = [sys.executable, "-c", "from fleet_cli.main import main; main()", "schema", "app"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            program, env=operator.environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "No space left on device" in done.stderr
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        program, env=operator.environment, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


PROMPTS = (b"[y/N]: ", b"name: ")
# As a login shell starts it: what a shell puts in the background inherits an ignored Ctrl-C, and so would its child.
FROM_A_SHELL = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from fleet_cli.main import main
main()
"""


def on_a_terminal(operator: Operator, typed: str | None, *arguments: str, **environment: str) -> tuple[int, str]:
    """Exit status and all that the terminal showed. `typed` answers the question; None is Ctrl-C."""
    mine, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", FROM_A_SHELL, *arguments],
        cwd=operator.folder, env={**operator.environment, **environment}, stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while True:
            # Again after a while: a signal between a prompt and the read behind it is seen only by the next one.
            if not select.select([mine], [], [], 0.5)[0]:
                if typed is None and shown.endswith(PROMPTS):
                    child.send_signal(signal.SIGINT)
                continue
            if not (data := os.read(mine, 4096)):
                break
            shown += data
            if shown.endswith(PROMPTS) and typed is not None:
                os.write(mine, typed.encode())
    except OSError:  # the terminal ends with its last program
        pass
    finally:
        os.close(mine)
        status = child.wait(timeout=20)
    return status, shown.decode()


def test_who_says_no_has_changed_nothing(server: ServerUnderTest, operator: Operator) -> None:
    name = server.enrol("asked-1").name
    status, shown = on_a_terminal(operator, "n\n", "device", "decommission", name)
    assert (status, "Nothing was changed." in shown) == (Exit.OTHER, True)
    status, shown = on_a_terminal(operator, None, "device", "decommission", name)
    assert (status, "Stopped" in shown) == (130, True)
    assert name in operator.fleet("get", "devices", "-o", "name").out.split()


def test_a_production_context_wants_its_name_typed(server: ServerUnderTest, operator: Operator) -> None:
    name = server.enrol("asked-2").name
    config = {"ROADSTEAD_CONFIG": str(operator.folder / "prod.yaml")}
    operator.fleet("ctx", "add", "plant", *operator.server_flags(), "--environment", "prod", **config)
    status, _ = on_a_terminal(operator, "y\n", "device", "decommission", name, **config)
    assert status == Exit.OTHER
    status, _ = on_a_terminal(operator, "plant\n", "device", "decommission", name, **config)
    assert status == 0
    assert name not in operator.fleet("get", "devices", "-o", "name").out.split()


def test_colours_are_for_terminals_and_for_those_who_want_them(server: ServerUnderTest, operator: Operator) -> None:
    server.enrol("colour-1")
    assert "\x1b[" not in operator.fleet("get", "devices").out
    assert "\x1b[" in operator.fleet("get", "devices", FORCE_COLOR="1").out
    assert "\x1b[" in on_a_terminal(operator, "", "get", "devices")[1]
    assert "\x1b[" not in on_a_terminal(operator, "", "get", "devices", NO_COLOR="1")[1]
    assert "\x1b[" not in on_a_terminal(operator, "", "get", "devices", "nobody", NO_COLOR="1")[1]
