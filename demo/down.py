"""`./dev down`."""

from __future__ import annotations

import sys

from demo import machine


def main() -> int:
    """Take the demo down; 1 and a list when something would not go."""
    left = machine.down()
    for what in left:
        print(f"could not remove {what}", file=sys.stderr)
    if not left:
        print("The demo is down; nothing of it is left.", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
