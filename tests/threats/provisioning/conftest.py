from __future__ import annotations

from provisioning_fixtures import broker, desk, front

__all__ = ["broker", "desk", "front"]
