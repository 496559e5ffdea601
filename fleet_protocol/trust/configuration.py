"""Configuration values against what the signed release declares. Values may be secret: no error shows one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from fleet_protocol.documents.desired import InlineValue, ValueByDigest
from fleet_protocol.documents.patterns import full_match
from fleet_protocol.documents.release import ConfigKey, Release
from fleet_protocol.trust.errors import ConfigurationError
from fleet_protocol.wire.bounds import MAX_INTEGER
from fleet_protocol.wire.errors import DocumentInvalidError

_INTEGER = re.compile(r"-?[0-9]{1,16}")


def resolve_values(
    release: Release,
    given: Mapping[str, InlineValue | ValueByDigest],
    fetch: Callable[[str, int], bytes],
) -> dict[str, bytes]:
    """Key -> bytes, defaults filled in; `fetch(sha256, size)` gets verified bytes. Raises ConfigurationError."""
    element = f"{release.app} {release.version}"
    for key in given:
        if key not in release.config:
            raise ConfigurationError(f"{release.app} {release.version} does not declare {key}", element=element)
    out: dict[str, bytes] = {}
    for key, declared in release.config.items():
        value = given.get(key, declared.default)
        if value is None:
            continue
        size = value.size if isinstance(value, ValueByDigest) else len(value.encode())
        if size > declared.max_bytes:
            raise ConfigurationError(
                f"{key} has {size} bytes, at most {declared.max_bytes} are declared", element=element
            )
        data = fetch(value.sha256, value.size) if isinstance(value, ValueByDigest) else value.encode()
        if wrong := value_fault(declared, data):
            raise ConfigurationError(f"{key} {wrong}", element=element)
        out[key] = data
    return out


def value_fault(declared: ConfigKey, data: bytes) -> str | None:
    """What is wrong with a value, as the end of a sentence, or None."""
    if len(data) > declared.max_bytes:
        return f"has {len(data)} bytes, at most {declared.max_bytes} are declared"
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return "is not UTF-8 text"
    if "\0" in text:
        return "holds a NUL character"
    if declared.type == "integer" and not (_INTEGER.fullmatch(text) and abs(int(text)) <= MAX_INTEGER):
        return "is not an integer within 2^53"
    if declared.type == "boolean" and text not in ("true", "false"):
        return "is neither true nor false"
    if declared.type == "string" and any(not c.isprintable() for c in text):
        return "is declared as a string and holds control characters"
    if declared.pattern is not None:
        try:
            matched = full_match(declared.pattern, text)
        except DocumentInvalidError as error:
            return f"has a declared pattern that cannot be used: {error.reason}"
        if not matched:
            return f"does not match its declared pattern {declared.pattern}"
    return None
