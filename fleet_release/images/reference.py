"""Image references as compose files write them: `registry/repository:tag@digest`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fleet_protocol.wire import bounds
from fleet_release.images.errors import ImageNotFoundError

# What container tools mean by a name without a registry; its API and its tokens have hosts of their own.
HUB = "docker.io"
HUB_API = "registry-1.docker.io"
HUB_REALM = "auth.docker.io"
HUB_LOGIN = "https://index.docker.io/v1/"

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an image lies in a registry."""

    registry: str
    repository: str
    tag: str
    digest: str = ""

    @property
    def host(self) -> str:
        """Whom to ask."""
        return HUB_API if self.registry == HUB else self.registry

    @property
    def is_local(self) -> bool:
        """A registry on this machine is spoken to without TLS, as container tools do."""
        name = self.registry.rpartition(":")[0] if ":" in self.registry.rpartition("]")[2] else self.registry
        return name in ("localhost", "127.0.0.1", "[::1]")

    @property
    def url(self) -> str:
        """The base of the registry's API."""
        return f"{'http' if self.is_local else 'https'}://{self.host}"

    def __str__(self) -> str:
        end = f"@{self.digest}" if self.digest else f":{self.tag}"
        return f"{self.registry}/{self.repository}{end}"


def parse_reference(text: str) -> Reference:
    """Raises ImageNotFoundError for a name that no registry could have."""
    name, _, digest = text.partition("@")
    if digest and not bounds.matches(bounds.DIGEST_PATTERN, digest):
        raise ImageNotFoundError(f"{digest[:90]!r} is not sha256: and 64 lower-case hex digits", element=text[:200])
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, path = first, rest
    else:
        registry, path = HUB, name
    path, colon, tag = path.partition(":")
    if registry in (HUB, "index.docker.io"):
        registry = HUB
        path = path if "/" in path else f"library/{path}"
    tag = tag if colon else "latest"
    if not (_HOST.fullmatch(registry) and _REPOSITORY.fullmatch(path) and _TAG.fullmatch(tag)) or len(path) > 255:
        raise ImageNotFoundError("is not the name of an image", element=text[:200])
    return Reference(registry, path, tag, digest)
