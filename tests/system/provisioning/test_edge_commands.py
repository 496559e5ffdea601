from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from provisioning_support import NOW, Desk, HttpsFront

from edge_daemon.commands.logs import tail
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
        (["status", "--run-dir", "/nonexistent"], 8, "it does not run"),
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


SERVICE = {
    "name": "web", "state": "running", "pid": 77, "restarts": 1,
    "limits": {"memory_bytes": 64 << 20, "cpu_millis": 250, "pids": 64},
}  # fmt: skip
REPORT = {
    "device_id": "cam-1",
    "generation": 4,
    "running_generation": 3,
    "preparing": "fetching",
    "refusal": {"sentence": "While verifying, it failed"},
    "apps": [{"app": "cam", "release": "1.9.0", "state": "degraded", "why": "web \x1b[31mfailed"}],
}


def clock(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


STATUS = {"report": REPORT, "connected": False, "why_not_connected": "refused", "pending_events": 3}
INERT = "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("arguments", "question", "answer", "said"),
    [
        pytest.param(
            ["status"],
            {"ask": "status"},
            STATUS,
            "device      cam-1\nconnected   no: refused\ngeneration  3 runs, 4 accepted\noutbox      3 events\n"
            "preparing   fetching\nrefused     While verifying, it failed\n"
            f"app         cam 1.9.0 degraded: web {INERT}[31mfailed\n",
            id="status",
        ),
        pytest.param(
            ["ps"],
            {"ask": "ps"},
            {"containers": [{"app": "cam", "release": "1.9.0", "revision": "ab", **SERVICE}]},
            "APP  RELEASE  SERVICE  STATE    HEALTH  PID  RESTARTS  MEM LIMIT  CPU LIMIT  PIDS LIMIT\n"
            "cam  1.9.0    web      running  -       77   1         64 MiB     250m       64\n",
            id="ps",
        ),
        pytest.param(
            ["ps"],
            {"ask": "ps"},
            {"containers": [{"app": "cam", "release": "1.9.0", **SERVICE, "health": "unhealthy", "why": "tcp\x1b"}]},
            "APP  RELEASE  SERVICE  STATE    HEALTH     PID  RESTARTS  MEM LIMIT  CPU LIMIT  PIDS LIMIT  WHY\n"
            f"cam  1.9.0    web      running  unhealthy  77   1         64 MiB     250m       64          tcp{INERT}\n",
            id="ps with the word of a probe",
        ),
        pytest.param(
            ["logs", "cam", "web", "-n", "2"],
            {"ask": "logs", "app": "cam", "service": "web"},
            {"path": "LOG", "service": "web"},
            f"second\n{INERT}[2Jthird\n",
            id="logs",
        ),
        pytest.param(
            ["events", "-n", "9"],
            {"ask": "events", "count": 9},
            {"events": [{"at": 5, "severity": "warn", "app": "cam", "text": "restarted"}]},
            f"{clock(5)}  warn   cam                   restarted\n",
            id="events",
        ),
    ],
)
def test_local_commands_ask_the_daemon_through_its_socket(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    question: dict[str, object],
    answer: dict[str, object],
    said: str,
) -> None:
    log = tmp_path / "ctr.log"
    log.write_text("t1 stdout F first\nt2 stderr F second\nt3 stdout P \x1b[2Jthird\n")
    files = [log] if answer.get("path") == "LOG" else []
    asked: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        for _ in range(2):
            stream, _ = listener.accept()
            with stream, stream.makefile("rb") as lines:
                asked.append(lines.readline())
                with ExitStack() as opened:
                    handles = [opened.enter_context(file.open("rb")).fileno() for file in files]
                    socket.send_fds(stream, [json.dumps(answer).encode() + b"\n"], handles)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "edge-daemon.sock"))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        assert main([*arguments, "--run-dir", str(tmp_path)]) == 0
        assert capsys.readouterr().out == said
        assert main([*arguments, "--run-dir", str(tmp_path), "-o", "json"]) == 0
        thread.join()
    assert isinstance(json.loads(capsys.readouterr().out), dict)
    assert json.loads(asked[0]) == question


def test_a_log_longer_than_what_is_read_begins_with_a_whole_line(tmp_path: Path) -> None:
    log = tmp_path / "ctr.log"
    log.write_text("".join(f"t stdout F {i:0100d}\n" for i in range(20_000)))
    with log.open("rb") as file:
        lines = tail([file.fileno()], 1_000_000)
        assert len(lines) < 20_000
        assert [int(line.text) for line in lines] == list(range(20_000 - len(lines), 20_000))
        assert tail([file.fileno()], 0) == []
