"""`python -I -OO -m edge_daemon.keeper`: the resident process."""

from __future__ import annotations

import sys

from edge_daemon.keeper.main import main

sys.exit(main(sys.argv[1:]))
