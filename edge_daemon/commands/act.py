"""`edge-daemon rollback|hold|lift`: an operator acts on this host. Works without any server. Standard library only."""

from __future__ import annotations

import argparse
import json

from edge_daemon.commands.lengths import seconds
from edge_daemon.keeper.local_client import ask
from fleet_protocol.wire.errors import Exit, inert


def run(args: argparse.Namespace) -> int:
    """Exit 0 when it is done; 5 when it cannot be; 8 when no daemon runs."""
    request = {"ask": args.command, "app": args.app}
    if args.command == "hold":
        request["seconds"] = 0 if args.length == "off" else seconds(args.length)
    answer = ask(args.run_dir, request)
    print(json.dumps(answer, sort_keys=True) if args.output == "json" else inert(str(answer["done"])))
    return Exit.OK
