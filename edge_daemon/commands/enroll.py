"""`edge-daemon enroll`: give this host an identity, and say what it can and cannot enforce."""

from __future__ import annotations

import argparse
import re
import socket
import sys
from pathlib import Path

from edge_daemon.posture import judge, report
from edge_daemon.posture.collect import collect
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.errors import DocumentInvalidError, Exit
from provisioning.device.enrol import Progress, Waiting, enrol
from provisioning.token import MAX_CHARACTERS, parse

WAIT_S = 24 * 3600.0


def run(args: argparse.Namespace) -> int:
    """Enrol. Exit 0: approved and in place; 10: asked for, not yet approved."""
    token = parse(token_text(args.token, args.token_file))
    facts = collect(args.state_dir)
    checks = judge.judge(facts)
    say = _say_as_text if args.output == "table" else (lambda _progress: None)
    done = enrol(
        token,
        args.state_dir,
        args.name or own_name(),
        host=report.for_enrolment(facts, checks),
        force=args.force,
        waiting=Waiting(for_s=WAIT_S if args.wait else 0.0),
        said=say,
    )
    if args.output == "json":
        told = {**done._asdict(), "words": done.words, "posture": report.as_data(facts, checks)}
        print(strict_json.dumps(told).decode())
    else:
        findings = [check for check in checks if check.verdict is not judge.Verdict.OK]
        print()
        print(report.as_text(facts, findings or checks))
        if done.status == "pending":
            print("\nOnce it is approved, run the same command again, or wait for it with --wait.", file=sys.stderr)
    return Exit.OK if done.status == "approved" else Exit.CHANGES_PENDING


def token_text(given: str | None, file: str | None) -> str:
    """The token from the command line, a file, or standard input (`-`): there it is not in the process list."""
    if (given is None) == (file is None):
        raise DocumentInvalidError("give either TOKEN or --token-file", element="enrolment token")
    if given is not None and given != "-":
        return given
    if file in (None, "-"):
        return sys.stdin.read(MAX_CHARACTERS + 1)
    assert file is not None
    try:
        return Path(file).read_text(encoding="ascii", errors="replace")[: MAX_CHARACTERS + 1]
    except OSError as error:
        raise DocumentInvalidError(error.strerror or str(error), element=file) from error


def own_name() -> str:
    """What this host calls itself; the server makes an identifier of it."""
    return re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:64]


def _say_as_text(progress: Progress) -> None:
    match progress.status:
        case "pending":
            print(f"Waiting for approval as request {progress.request_id}.")
            print("Compare these words with what `fleet enroll list` shows:\n")
            print(f"    {progress.words}\n", flush=True)  # a person waits for it, also behind a pipe
        case "approved":
            print(f"Approved: this host is {progress.device_id}.")
            print(f"    {progress.words}")
