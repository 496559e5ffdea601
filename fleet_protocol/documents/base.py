"""How documents are parsed: strict JSON first, then exactly typed, frozen models."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from fleet_protocol.wire import bounds, strict_json
from fleet_protocol.wire.errors import DocumentInvalidError, inert


def _printable(text: str) -> str:
    if inert(text) != text:
        raise ValueError("control or format characters are not allowed")
    return text


Count = Annotated[int, Field(ge=0, le=bounds.MAX_INTEGER)]
Seconds = Annotated[int, Field(ge=0, le=10 * 365 * 86400)]
UnixTime = Annotated[int, Field(ge=0, le=bounds.MAX_INTEGER)]
DeviceId = Annotated[str, StringConstraints(pattern=rf"^(?:{bounds.ID_PATTERN})$")]
Name = Annotated[str, StringConstraints(pattern=rf"^(?:{bounds.NAME_PATTERN})$")]
Version = Annotated[str, StringConstraints(pattern=rf"^(?:{bounds.VERSION_PATTERN})$")]
Digest = Annotated[str, StringConstraints(pattern=rf"^(?:{bounds.DIGEST_PATTERN})$")]
Sha256 = Annotated[str, StringConstraints(pattern=rf"^(?:{bounds.SHA256_PATTERN})$")]
EnvName = Annotated[str, StringConstraints(pattern=rf"^(?:{bounds.ENV_NAME_PATTERN})$")]
ConfigKeyName = Annotated[str, StringConstraints(pattern=rf"^(?:{bounds.CONFIG_KEY_PATTERN})$")]
AbsolutePath = Annotated[str, StringConstraints(pattern=rf"^(?:{bounds.ABSOLUTE_PATH_PATTERN})$")]
Platform = Annotated[str, StringConstraints(pattern=rf"^(?:{bounds.PLATFORM_PATTERN})$")]
LabelKey = Annotated[str, StringConstraints(pattern=rf"^(?:{bounds.LABEL_KEY_PATTERN})$")]
LabelValue = Annotated[str, StringConstraints(pattern=rf"^(?:{bounds.LABEL_VALUE_PATTERN})$")]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=32)]
Text = Annotated[str, StringConstraints(max_length=bounds.MAX_TEXT), AfterValidator(_printable)]


class Document(BaseModel):
    """A signed or sealed document: unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    limit_bytes: ClassVar[int] = 64 * 1024

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Raises DocumentInvalidError that names every offending path."""
        value = strict_json.loads(data, max_bytes=cls.limit_bytes, what=cls.__name__)
        return cls.from_value(value)

    @classmethod
    def from_value(cls, value: Any) -> Self:
        """The same from values that strict_json read."""
        try:
            # JSON mode: enum members and tuples come from their JSON forms, everything else exactly typed.
            return cls.model_validate_json(strict_json.dumps(value))
        except (ValidationError, ValueError) as error:
            raise DocumentInvalidError(_words(error), element=cls.__name__) from error

    def to_bytes(self) -> bytes:
        """Compact JSON with sorted keys; what is left out is what was never set and has no default."""
        return strict_json.dumps(self.model_dump(mode="json", exclude_none=True, by_alias=True))


class OpenDocument(Document):
    """An unsigned document between our own parts: unknown fields are kept, so that versions can differ."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)


def _words(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    said = [f"${''.join(f'.{p}' for p in e['loc'])}: {e['msg']}" for e in error.errors(include_url=False)[:5]]
    more = error.error_count() - len(said)
    return "; ".join(said) + (f"; and {more} more" if more > 0 else "")
