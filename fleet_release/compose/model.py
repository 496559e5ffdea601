"""What a compose file says, in our terms: values in the fields of a release's service, each with its place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fleet_release.findings import Mark

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class FileUse:
    """A config or secret that a service mounts."""

    name: str
    target: str
    secret: bool
    mark: Mark


@dataclass(frozen=True, slots=True)
class FileDefinition:
    """A top-level config or secret. `content` is None for what only the fleet knows."""

    name: str
    secret: bool
    content: str | None
    mark: Mark


@dataclass(frozen=True, slots=True)
class AddedDefault:
    """A value that nobody wrote, printed with `+`."""

    service: str
    key: str
    value: str
    why: str

    def __str__(self) -> str:
        return f"+ services.{self.service}.{self.key}  {self.value}   ({self.why})"


@dataclass(slots=True)
class ComposeService:
    """One service."""

    name: str
    mark: Mark
    image: str | None = None
    image_mark: Mark | None = None
    fields: dict[str, Any] = field(default_factory=dict)  # fields of documents.release.Service
    limits: dict[str, Any] = field(default_factory=dict)  # fields of documents.release.Limits
    marks: dict[Path, Mark] = field(default_factory=dict)
    read_only: bool | None = None
    capabilities: dict[str, Mark] = field(default_factory=dict)
    devices: dict[str, Mark] = field(default_factory=dict)
    files: list[FileUse] = field(default_factory=list)
    links: list[tuple[str, str, Mark]] = field(default_factory=list)  # service, alias
    added: list[AddedDefault] = field(default_factory=list)
    update: dict[str, str] = field(default_factory=dict)  # deploy.update_config, as written

    def put(self, key: str, value: Any, mark: Mark | None) -> None:
        """Set one field and remember where it came from."""
        if value is not None:
            self.fields[key] = value
            if mark is not None:
                self.marks[(key,)] = mark


@dataclass(slots=True)
class ComposeProject:
    """All of it."""

    mark: Mark
    services: dict[str, ComposeService] = field(default_factory=dict)
    definitions: dict[tuple[bool, str], FileDefinition] = field(default_factory=dict)  # (secret, name)
    volumes: dict[str, str] = field(default_factory=dict)  # as written -> as kept
