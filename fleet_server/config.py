"""The server directory: where its files lie, and the few things that `server.toml` says."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

from fleet_server.errors import SetupError


@dataclass(frozen=True, slots=True)
class Layout:
    """Names below the server directory; nothing is created here."""

    base: Path

    @property
    def config(self) -> Path:
        """server.toml."""
        return self.base / "server.toml"

    @property
    def ca(self) -> Path:
        """ca.key, ca.pem."""
        return self.base / "ca"

    @property
    def tls(self) -> Path:
        """server.pem (chain), server.key."""
        return self.base / "tls"

    @property
    def broker(self) -> Path:
        """Everything that mosquitto reads, and the server's own client certificate."""
        return self.base / "broker"

    @property
    def keys(self) -> Path:
        """director.key, time.key, snapshot.key, timestamp.key."""
        return self.base / "keys"

    @property
    def store(self) -> Path:
        """The SQLite file."""
        return self.base / "server.db"

    @property
    def blobs(self) -> Path:
        """Image blobs."""
        return self.base / "blobs"

    @property
    def tuf(self) -> Path:
        """The TUF repository."""
        return self.base / "tuf"

    @property
    def admin_token(self) -> Path:
        """The first operator's token, 0600."""
        return self.base / "admin.token"

    @property
    def audit_heads(self) -> Path:
        """Signed heads of the audit log, one a line."""
        return self.base / "audit.heads"


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """server.toml."""

    names: tuple[str, ...]
    url: str
    listen_host: str
    listen_port: int
    broker_host: str
    broker_port: int
    broker_listen: tuple[str, int] | None = None  # where the broker listens and this server reaches it, if elsewhere

    @property
    def broker_here(self) -> tuple[str, int]:
        """Where this server connects."""
        return self.broker_listen or (self.broker_host, self.broker_port)

    def to_toml(self) -> str:
        """The file's text. JSON strings and arrays of strings are TOML as well."""
        here = ":".join(map(str, self.broker_listen)) if self.broker_listen else ""
        return (
            "# Written by fleet-server init. A change takes effect when the server is started again.\n"
            f"names = {json.dumps(list(self.names))}\n"
            f"url = {json.dumps(self.url)}  # as devices and operators reach it\n"
            f"listen = {json.dumps(f'{self.listen_host}:{self.listen_port}')}\n"
            f"broker = {json.dumps(f'{self.broker_host}:{self.broker_port}')}  # as devices reach it\n"
            + (
                f"broker_listen = {json.dumps(here)}  # where it listens, and as the server reaches it\n"
                if here
                else ""
            )
        )


def load_config(layout: Layout) -> ServerConfig:
    """Raises SetupError that says what is wrong with the file."""
    try:
        value = tomllib.loads(layout.config.read_text())
    except FileNotFoundError as error:
        raise SetupError("there is no server here", element=str(layout.base), hint="fleet-server init") from error
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SetupError(str(error), element=str(layout.config)) from error
    unknown = set(value) - {"names", "url", "listen", "broker", "broker_listen"}
    if unknown:
        raise SetupError(f"unknown key {min(unknown)!r}", element=str(layout.config))
    names, url = value.get("names"), value.get("url")
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise SetupError("names wants a list of names", element=str(layout.config))
    if not isinstance(url, str) or not url.startswith("https://"):
        raise SetupError("url wants https://NAME:PORT", element=str(layout.config))
    listen, broker = host_port(value.get("listen"), "listen"), host_port(value.get("broker"), "broker")
    here = host_port(value["broker_listen"], "broker_listen") if "broker_listen" in value else None
    return ServerConfig(tuple(names), url.rstrip("/"), *listen, *broker, here)


def host_port(text: object, what: str) -> tuple[str, int]:
    """`HOST:PORT` or `[::1]:PORT`. Raises SetupError."""
    host, _, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise SetupError(f"{what} wants HOST:PORT", element=str(text)[:80])
    return host, int(port)
