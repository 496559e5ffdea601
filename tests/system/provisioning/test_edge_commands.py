from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from provisioning_support import NOW, Desk, HttpsFront

from edge_daemon.main import main
from fleet_protocol.wire.words import words
from provisioning.token import encode

pytestmark = pytest.mark.usefixtures("front")


def test_enroll_says_the_words_and_what_this_host_cannot_enforce(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = encode(desk.token(auto_approve=True))
    assert main(["enroll", token, "--state-dir", str(tmp_path / "state"), "--name", "Cam 1"]) == 0
    said = capsys.readouterr().out
    assert "Approved: this host is cam-1." in said
    assert words(desk.store.enrolments()[0].fingerprint) in said
    assert "limits: memory " in said
    assert desk.store.enrolments()[0].host["cgroups"] in ("v1", "v2", "hybrid")


def test_enroll_without_wait_ends_with_10_until_it_is_approved(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = encode(desk.token())
    (tmp_path / "token").write_text(token + "\n")
    arguments = ["enroll", "--state-dir", str(tmp_path / "state"), "--name", "cam-1", "-o", "json"]
    assert main([*arguments, "--token-file", str(tmp_path / "token")]) == 10
    told = json.loads(capsys.readouterr().out)
    assert (told["status"], told["words"]) == ("pending", desk.desk.rows()[0].words)
    desk.desk.approve(told["request_id"], "ops1", NOW)
    monkeypatch.setattr(sys, "stdin", io.StringIO(token))
    assert main([*arguments, "--token-file", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["device_id"] == "cam-1"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["enroll"], 1, "give either TOKEN or --token-file"),
        (["enroll", "nonsense"], 2, "it does not start with rs1."),
        (["enroll", "--token-file", "/nonexistent/token"], 1, "No such file or directory"),
        (["renew"], 5, "it has no identity yet"),
        (["renew", "--now"], 5, "it has no identity yet"),
        (["status", "--run-dir", "/nonexistent"], 8, "While asking the daemon"),
    ],
)
def test_what_cannot_work_ends_in_one_sentence(
    arguments: list[str], status: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--state-dir", str(tmp_path)]) == status
    assert said in capsys.readouterr().err


def test_a_wrong_token_is_refused_in_the_servers_words(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = desk.token()
    desk.enrol(token)
    assert main(["enroll", encode(token), "--state-dir", str(tmp_path / "state")]) == 4
    said = capsys.readouterr().err
    assert "the token is unknown, used up, expired, or not yours" in said
    assert "hint: ask for a new one: fleet enroll token" in said


def test_doctor_looks_at_this_very_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor", "--state-dir", str(tmp_path), "-o", "json"])
    told = json.loads(capsys.readouterr().out)
    assert status == (0 if told["ok"] else 1)
    checks = {check["name"]: check for check in told["checks"]}
    assert checks["memory limits"]["verdict"] == ("ok" if told["limits"]["memory"] == "enforced" else "fail")
    assert checks["conmon"]["verdict"] == "ok"
    assert main(["doctor", "--state-dir", str(tmp_path)]) == status
    assert " limits: memory" in capsys.readouterr().out


def test_renew_does_nothing_while_the_certificate_is_young(
    desk: Desk, front: HttpsFront, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import time

    front.clock = lambda: int(time.time())
    token = encode(desk.token(front.clock(), auto_approve=True))
    main(["enroll", token, "--state-dir", str(tmp_path / "state"), "--name", "cam-1"])
    assert main(["renew", "--state-dir", str(tmp_path / "state")]) == 0
    assert "young enough" in capsys.readouterr().out


def test_the_command_line_alone_loads_none_of_the_heavy_libraries() -> None:
    heavy = ["pydantic", "cryptography", "tuf", "paho", "ssl", "asyncio", "sqlite3"]
    program = (
        "import sys\nfrom edge_daemon.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


ANSWER = {
    "connected": True,
    "outbox": 3,
    "reported": {
        "device_id": "cam-1",
        "generation": 4,
        "running_generation": 4,
        "apps": [
            {
                "app": "cam",
                "release": "1.9.0",
                "state": "degraded",
                "why": "web \x1b[31mfailed",
                "services": [
                    {"name": "web", "state": "running", "pid": 77, "restarts": 1,
                     "limits": {"memory_bytes": 64 << 20, "cpu_millis": 250, "pids": 64}},
                ],
            }
        ],
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "question", "answer", "said"),
    [
        (
            ["status"],
            {"ask": "status"},
            ANSWER,
            "app         cam 1.9.0 degraded: web \N{REPLACEMENT CHARACTER}[31mfailed",
        ),
        (["ps"], {"ask": "ps"}, ANSWER, "cam  web      running  77   1         64 MiB     250 m      64"),
        (
            ["logs", "cam", "web", "-n", "2"],
            {"ask": "logs", "lines": 2, "app": "cam", "service": "web"},
            {"lines": ["a", "\x1b[2Jb"]},
            "a\n\N{REPLACEMENT CHARACTER}[2Jb",
        ),
        (
            ["events"],
            {"ask": "events", "lines": 50},
            {"events": [{"at": 5, "severity": "warn", "app": "cam", "text": "restarted"}]},
            "restarted",
        ),
    ],
)
def test_local_commands_ask_the_daemon_through_its_socket(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    question: dict[str, object],
    answer: object,
    said: str,
) -> None:
    asked: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        for _ in range(2):
            stream, _ = listener.accept()
            with stream, stream.makefile("rb") as lines:
                asked.append(lines.readline())
                stream.sendall(json.dumps({"answer": answer}).encode() + b"\n")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "edge-daemon.sock"))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        assert main([*arguments, "--run-dir", str(tmp_path)]) == 0
        assert said in capsys.readouterr().out
        assert main([*arguments, "--run-dir", str(tmp_path), "-o", "json"]) == 0
        thread.join()
    assert json.loads(capsys.readouterr().out) == answer
    assert json.loads(asked[0]) == question
