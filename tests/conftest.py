"""Puts this folder on the path, so that every test can import the `*_support` modules."""

from __future__ import annotations

import os
from pathlib import Path

# Beside the other caches, not in the root, where pytest would warn of it.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(Path(__file__).parents[1] / ".cache" / "hypothesis"))

from hypothesis import settings

# How long an example takes says more of the machine than of the code: time is measured by tests marked `alone`.
settings.register_profile("roadstead", deadline=None)
settings.load_profile("roadstead")
