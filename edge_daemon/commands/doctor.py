"""`edge-daemon doctor`: what this host can and cannot enforce, and what to do about it."""

from __future__ import annotations

import argparse

from edge_daemon.posture.collect import collect
from edge_daemon.posture.judge import judge, passes
from edge_daemon.posture.report import as_data, as_text
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.errors import Exit


def run(args: argparse.Namespace) -> int:
    """Exit 0: this host keeps every promise; 1: it does not."""
    facts = collect(args.state_dir)
    checks = judge(facts)
    print(strict_json.dumps(as_data(facts, checks)).decode() if args.output == "json" else as_text(facts, checks))
    return Exit.OK if passes(checks) else Exit.OTHER
