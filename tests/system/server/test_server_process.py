"""The program itself: init, run, doctor."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process_support import Process, ServerUnderTest, listening_socket


@pytest.fixture
def server() -> Iterator[ServerUnderTest]:
    made = ServerUnderTest()
    yield made
    made.close()


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fleet_server.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_init_tells_where_the_token_is_and_never_what_it_is(server: ServerUnderTest) -> None:
    assert server.told.splitlines()[-1] == str(server.dir / "admin.token")
    assert server.token not in server.told
    for secret in ("admin.token", "ca/ca.key", "keys/director.key", "server.db"):
        assert (server.dir / secret).stat().st_mode & 0o077 == 0


def test_init_never_touches_what_is_there(server: ServerUnderTest) -> None:
    before = {p: p.read_bytes() for p in server.dir.rglob("*") if p.is_file()}
    done = call("init", "--dir", str(server.dir), "--name", "localhost")
    assert done.returncode == 2
    assert "an existing server is never overwritten" in done.stderr
    assert {p: p.read_bytes() for p in server.dir.rglob("*") if p.is_file()} == before


def test_it_serves_an_inherited_socket_as_well_without_a_broker_and_ends_well(server: ServerUnderTest) -> None:
    with listening_socket() as extra:
        number = extra.fileno()
        process = subprocess.Popen(
            [*server.command, "--listen-fd", str(number)], pass_fds=[number], stderr=subprocess.PIPE, text=True
        )
        port = extra.getsockname()[1]
    assert process.stderr is not None
    try:
        while "startup complete" not in (line := process.stderr.readline()):
            assert line
        first = server.http("GET", "/healthz", token=None)
        server.port = port
        assert server.http("GET", "/healthz", token=None) == first
        assert server.api("GET", "/v1/status")["broker"]["connected"] is False
    finally:
        process.terminate()
        process.stderr.read()
        process.stderr.close()
    assert process.wait(timeout=20) == 0


def test_a_second_server_on_the_same_address_says_so(server: ServerUnderTest) -> None:
    server.server = Process(server.command, "startup complete")
    done = subprocess.run(server.command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"failed for 127.0.0.1:{server.port}: cannot listen: Address already in use" in done.stderr


def test_doctor_finds_what_is_wrong(server: ServerUnderTest) -> None:
    done = call("doctor", "--dir", str(server.dir))
    assert done.returncode == 1
    assert "BAD  no trust root yet" in done.stdout
    assert "BAD  no broker runs" in done.stdout
    assert "ok   audit log: 1 rows, unbroken" in done.stdout
    (server.dir / "ca/ca.key").chmod(0o644)
    done = call("doctor", "--dir", str(server.dir))
    assert "BAD  ca.key has mode 0644" in done.stdout


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("server.toml", "url = 3", "names wants a list of names"),
        ("server.toml", 'names = ["x"]\nurl = "https://x"\nlisten = "8443"\nbroker = "x:1"', "listen wants HOST:PORT"),
        ("server.toml", "colour = 3", "unknown key 'colour'"),
        ("server.db", "x" * 4096, "cannot be opened"),
        ("keys/director.key", "no key", "is no private key"),
    ],
)
def test_a_damaged_directory_is_refused_in_one_sentence_and_left_alone(
    server: ServerUnderTest, file: str, text: str, words: str
) -> None:
    path: Path = server.dir / file
    path.write_text(text)
    done = call("run", "--dir", str(server.dir))
    assert done.returncode != 0
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert path.read_text() == text


def test_run_without_a_directory_says_what_to_do(tmp_path: Path) -> None:
    done = call("run", "--dir", str(tmp_path / "none"))
    assert (done.returncode, "there is no server here" in done.stderr) == (2, True)
    assert "try: fleet-server init" in done.stderr
