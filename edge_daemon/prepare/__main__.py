"""`python -m edge_daemon.prepare`."""

from __future__ import annotations

import sys

from edge_daemon.prepare.main import main

sys.exit(main())
