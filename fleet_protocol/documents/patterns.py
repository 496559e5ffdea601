"""Patterns that a release declares for its configuration values: matched in linear time, whatever they are.

Python's own engine backtracks: `(a+)+$` would hang lint, the server's plan and the host's prepare. Pydantic
brings Rust's regex engine, which has no look-around and no backreferences, and bounds the size of what it compiles.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

from pydantic import StringConstraints, TypeAdapter, ValidationError
from pydantic_core import SchemaError

from fleet_protocol.wire.errors import DocumentInvalidError


def full_match(pattern: str, text: str) -> bool:
    """Whether all of `text` matches. Raises DocumentInvalidError for a pattern that cannot be used, with the reason."""
    try:
        _compiled(pattern).validate_python(text)
    except ValidationError:
        return False
    return True


def check(pattern: str) -> None:
    """Raises DocumentInvalidError that says why `pattern` cannot be used."""
    _compiled(pattern)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> TypeAdapter[str]:
    try:
        # Alone first: a pattern that closes our group itself would match more than it says.
        TypeAdapter(Annotated[str, StringConstraints(pattern=pattern)])
        return TypeAdapter(Annotated[str, StringConstraints(pattern=rf"\A(?:{pattern})\z")])
    except SchemaError as error:
        reason = str(error).strip().splitlines()[-1].removeprefix("error: ").strip()
        raise DocumentInvalidError(reason, element=f"pattern {pattern[:80]}") from error
