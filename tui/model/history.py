"""Where one is, and how one came there. Pure."""

from __future__ import annotations

from typing import NamedTuple

MOST = 100
PARENTS = {"device": "devices", "rollout": "rollouts", "raw": "device"}


class Place(NamedTuple):
    """A page, and what it is about (a device, a rollout, a cause)."""

    page: str
    about: str = ""


class History:
    """Pages seen, like a browser's; `up` follows the hierarchy instead."""

    def __init__(self, start: Place) -> None:
        self._seen, self._at = [start], 0

    @property
    def here(self) -> Place:
        """The place on the screen."""
        return self._seen[self._at]

    def go(self, place: Place) -> None:
        """To a new place; what lay ahead is forgotten."""
        if place == self.here:
            return
        self._seen = [*self._seen[: self._at + 1], place][-MOST:]
        self._at = len(self._seen) - 1

    def older(self) -> bool:
        """Back; whether there was one."""
        moved = self._at > 0
        self._at -= moved
        return moved

    def newer(self) -> bool:
        """Forward; whether there was one."""
        moved = self._at < len(self._seen) - 1
        self._at += moved
        return moved

    def back(self) -> bool:
        """To the page before, and from there back again."""
        if self._at == 0:
            return self.newer()
        self.go(self._seen[self._at - 1])
        return True

    def up(self) -> bool:
        """One level up; the place that one came from, where that is the level above."""
        page = self.here.page
        if page == "overview":
            return False
        parent = PARENTS.get(page, "overview")
        before = next((p for p in reversed(self._seen[: self._at]) if p.page == parent), None)
        self.go(before or Place(parent, self.here.about if page == "raw" else ""))
        return True
