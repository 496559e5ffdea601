"""Field types of app.yaml and fleet.yaml, and the base of their models. Every model is also exported as JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetJsonSchemaHandler,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

from fleet_protocol.wire import bounds
from fleet_release.values import (
    DURATION_PATTERN,
    SIZE_PATTERN,
    parse_cpus,
    parse_percent,
    parse_platform,
    parse_size,
    whole_seconds,
)

API_VERSION = "roadstead/v1"


class Part(BaseModel):
    """A mapping of the file: keys in camelCase, unknown ones refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, alias_generator=to_camel)


class OrSchema:
    """In the exported schema: this shorter form is accepted as well (a validator turns it into the long one)."""

    def __init__(self, other: dict[str, Any]) -> None:
        self._other = other

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [self._other, handler(core)]}


def as_text(value: Any, what: str) -> str:
    """`value`, when it is a text."""
    if not isinstance(value, str):
        raise ValueError(f"{what}, as a text")  # noqa: TRY004  pydantic turns ValueError into a finding
    return value


def _size(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError("wants a size such as 64Mi")  # noqa: TRY004
    return parse_size(value)


def _cpus(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("wants a number of cores such as 0.25")  # noqa: TRY004
    return parse_cpus(value)


def _percent(value: Any) -> Any:
    parse_percent(as_text(value, "wants a percentage such as 2%"))
    return value


def _strings(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Size = Annotated[int, BeforeValidator(_size), WithJsonSchema({"type": ["string", "integer"], "pattern": SIZE_PATTERN})]
Cpus = Annotated[int, BeforeValidator(_cpus), WithJsonSchema({"type": ["number", "string"]})]
DurationSeconds = Annotated[
    int,
    BeforeValidator(lambda v: whole_seconds(as_text(v, "wants a duration such as 10s"))),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN}),
]
Percent = Annotated[
    str, BeforeValidator(_percent), WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]+)?\s*%$"})
]
PlatformName = Annotated[
    str,
    BeforeValidator(lambda v: parse_platform(as_text(v, "wants a platform such as amd64"))),
    WithJsonSchema(
        {"type": "string", "pattern": rf"^(amd64|arm64|armv7|armv6|386|riscv64|{bounds.PLATFORM_PATTERN})$"}
    ),
]
Texts = Annotated[
    list[str],
    BeforeValidator(_strings),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}, "minItems": 1}),
]
ServiceName = Annotated[str, StringConstraints(max_length=100)]
"""Whether it is a service of the app is checked against the compose file, with a suggestion."""
