"""JSON from outside, read in one way only.

UTF-8 without BOM, no duplicate keys, no NaN, integers within 2^53, bounded depth.
"""

from __future__ import annotations

import json
from typing import Any

from fleet_protocol.wire.bounds import MAX_INTEGER, MAX_JSON_DEPTH
from fleet_protocol.wire.errors import DocumentInvalidError


def loads(data: bytes, *, max_bytes: int, what: str = "document") -> Any:
    """The value in `data`. Raises DocumentInvalidError for anything that two parsers could read differently."""
    if len(data) > max_bytes:
        raise DocumentInvalidError(f"{len(data)} bytes, at most {max_bytes} are allowed", element=what)
    if data.startswith(b"\xef\xbb\xbf"):
        raise DocumentInvalidError("starts with a byte order mark", element=what)
    _check_depth(data, what)
    try:
        text = data.decode("utf-8")
        return json.loads(
            text,
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_constant,
            parse_int=_bounded_int,
            parse_float=_finite_float,
        )
    except (ValueError, RecursionError) as error:
        raise DocumentInvalidError(f"not acceptable JSON: {error}", element=what) from error


def dumps(value: Any) -> bytes:
    """Compact UTF-8 JSON with sorted keys: the form in which we write and hash."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in pairs:
        if key in out:
            raise ValueError(f"duplicate key {key[:40]!r}")
        _no_surrogate(key)
        if isinstance(value, str):
            _no_surrogate(value)
        out[key] = value
    return out


def _no_surrogate(text: str) -> None:
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError("lone surrogate in a string")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _bounded_int(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > MAX_INTEGER:
        raise ValueError(f"integer beyond 2^53: {text[:20]}")
    return int(text)


def _finite_float(text: str) -> float:
    value = float(text) if len(text) <= 40 else float("inf")
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"number out of range: {text[:20]}")
    return value


def _check_depth(data: bytes, what: str) -> None:
    """Brackets outside strings, counted before the recursive parser sees them."""
    depth = 0
    in_string = escaped = False
    for byte in data:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in (0x5B, 0x7B):
            depth += 1
            if depth > MAX_JSON_DEPTH:
                raise DocumentInvalidError(f"nested deeper than {MAX_JSON_DEPTH}", element=what)
        elif byte in (0x5D, 0x7D):
            depth -= 1
