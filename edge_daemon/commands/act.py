"""`edge-daemon rollback|hold|lift`: an operator acts on this host. Works without any server. Standard library only."""

from __future__ import annotations

import argparse
import json

from edge_daemon.keeper.local_client import ask
from fleet_protocol.wire.errors import Exit, RoadsteadError, inert

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
MOST_DIGITS = 6


class LengthError(RoadsteadError):
    """A length of time that cannot be read."""

    phase = "reading the command line"
    component = "edge-daemon"
    code = "E0643"
    exit_status = Exit.USAGE


def run(args: argparse.Namespace) -> int:
    """Exit 0 when it is done; 5 when it cannot be; 8 when no daemon runs."""
    request = {"ask": args.command, "app": args.app}
    if args.command == "hold":
        request["seconds"] = length(args.length)
    answer = ask(args.run_dir, request)
    print(json.dumps(answer, sort_keys=True) if args.output == "json" else inert(str(answer["done"])))
    return Exit.OK


def length(text: str) -> int:
    """Seconds of `90s`, `30m`, `12h` or `1d`; 0 for `off`."""
    if text == "off":
        return 0
    digits, unit = text[:-1], text[-1:]
    if not (digits.isascii() and digits.isdigit() and len(digits) <= MOST_DIGITS and unit in UNITS and int(digits)):
        raise LengthError(f"{text[:20]!r} is not a length of time", hint="for example 30m, 12h or 1d; off ends a hold")
    return int(digits) * UNITS[unit]
