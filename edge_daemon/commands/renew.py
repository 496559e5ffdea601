"""`edge-daemon renew`: a new key and certificate, when the present one has grown old. Does nothing before."""

from __future__ import annotations

import argparse
import time

from fleet_protocol.wire.errors import Exit
from provisioning.device.renew import is_due, renew


def run(args: argparse.Namespace) -> int:
    """Exit 0: renewed, or not due."""
    if not args.now and not is_due(args.state_dir, int(time.time())):
        print("The certificate is young enough.")
        return Exit.OK
    renew(args.state_dir)
    print("The certificate was renewed. The daemon uses it from its next connection on.")
    return Exit.OK
