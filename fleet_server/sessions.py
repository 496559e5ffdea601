"""Devices' HTTPS sessions: in memory only, 15 minutes each. A restart ends them, and a device simply asks again."""

from __future__ import annotations

import hashlib
import secrets
import threading
from dataclasses import dataclass

LIFE_S = 900
MAX_SESSIONS = 100_000
MAX_PER_DEVICE = 8


@dataclass(frozen=True, slots=True)
class _Session:
    device_id: str
    ends: int


class Sessions:
    """Bearer tokens of devices. Only their hashes are kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: dict[str, _Session] = {}  # in the order of their end
        self._of: dict[str, list[str]] = {}

    def open(self, device_id: str, now: int) -> str:
        """A new token; a device that has too many loses its oldest."""
        token = f"rsd_{secrets.token_urlsafe(32)}"
        key = _hash(token)
        with self._lock:
            self._expire(now)
            self._sessions[key] = _Session(device_id, now + LIFE_S)
            mine = self._of.setdefault(device_id, [])
            mine.append(key)
            while len(mine) > MAX_PER_DEVICE:
                self._forget(mine[0])
        return token

    def device(self, token: str, now: int) -> str | None:
        """Whose token this is, or None."""
        with self._lock:
            session = self._sessions.get(_hash(token))
        return session.device_id if session and now < session.ends else None

    def end(self, device_id: str) -> None:
        """All sessions of a device, which was revoked."""
        with self._lock:
            for key in list(self._of.get(device_id, ())):
                self._forget(key)

    def _expire(self, now: int) -> None:
        while self._sessions:
            key = next(iter(self._sessions))
            if self._sessions[key].ends > now and len(self._sessions) < MAX_SESSIONS:
                return
            self._forget(key)

    def _forget(self, key: str) -> None:
        session = self._sessions.pop(key)
        mine = self._of[session.device_id]
        mine.remove(key)
        if not mine:
            del self._of[session.device_id]


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
