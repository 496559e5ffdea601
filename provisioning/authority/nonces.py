"""Challenges without memory: a nonce carries its own time and a MAC, and only a nonce that was *used well* is
remembered.

So asking for any number of challenges costs the server nothing, and what is remembered is bounded by what those who
hold a secret did within five minutes. The MAC key lives as long as the process: after a restart a client simply
asks again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import struct
import threading

LIFE_S = 300
_HEAD = struct.Struct(">Q16s")
_MAC_BYTES = 16


class Nonces:
    """Issues and redeems nonces, each for one purpose and one subject."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._spent: dict[str, int] = {}  # nonce -> when it ends, in the order of spending

    def issue(self, purpose: str, subject: str, now: int) -> str:
        """A new nonce: base64url, 40 bytes."""
        head = _HEAD.pack(now, secrets.token_bytes(16))
        return base64.urlsafe_b64encode(head + self._mac(head, purpose, subject)).rstrip(b"=").decode()

    def holds(self, nonce: str, purpose: str, subject: str, now: int) -> bool:
        """Whether it is ours, for this purpose and subject, and not too old. Says nothing about earlier use."""
        try:
            data = base64.b64decode(nonce + "=" * (-len(nonce) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return False
        # One text for each nonce: base64 leaves spare bits, and a second spelling would be a second use.
        if len(data) != _HEAD.size + _MAC_BYTES or base64.urlsafe_b64encode(data).rstrip(b"=").decode() != nonce:
            return False
        head, mac = data[: _HEAD.size], data[_HEAD.size :]
        issued = int(_HEAD.unpack(head)[0])
        return hmac.compare_digest(mac, self._mac(head, purpose, subject)) and issued <= now < issued + LIFE_S

    def spend(self, nonce: str, now: int) -> bool:
        """Use up a nonce that holds; False if it was used before. Call it after the proof was found good."""
        with self._lock:
            while self._spent and next(iter(self._spent.values())) <= now:
                del self._spent[next(iter(self._spent))]
            if nonce in self._spent:
                return False
            self._spent[nonce] = now + LIFE_S
            return True

    def _mac(self, head: bytes, purpose: str, subject: str) -> bytes:
        message = b"\0".join((purpose.encode(), subject.encode(), head))
        return hmac.new(self._key, message, hashlib.sha256).digest()[:_MAC_BYTES]
