"""A small number for each app, kept for as long as the host knows the app: 10.88.<number>.0/24 is its network.

Services are numbered from .2, in slot b from .130, in the order in which the release lists them; .1 is the bridge.
"""

from __future__ import annotations

import json
from pathlib import Path

from edge_daemon import slots
from edge_daemon.prepare.errors import SealError
from fleet_protocol.documents.release import Release
from fleet_protocol.wire.durable import replace_durably
from fleet_protocol.wire.strict_json import dumps

FIRST, LAST = 1, 254
FIRST_OF_B = 130


def assign(known: dict[str, int], apps: list[str]) -> dict[str, int]:
    """`known` with the lowest free number for each new app."""
    out = dict(known)
    for app in apps:
        if app not in out:
            free = next((n for n in range(FIRST, LAST + 1) if n not in out.values()), None)
            if free is None:
                raise SealError("no address range is left for another app", element=app)
            out[app] = free
    return out


def read_numbers(path: Path) -> dict[str, int]:
    """The numbers given so far. Raises SealError for a damaged file: guessing would give a number twice."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise SealError("is damaged", element=str(path)) from error
    if not isinstance(value, dict) or not all(type(n) is int and FIRST <= n <= LAST for n in value.values()):
        raise SealError("is damaged", element=str(path))
    return value


def write_numbers(path: Path, numbers: dict[str, int]) -> None:
    """Durably, before anything is sealed that uses them."""
    if read_numbers(path) != numbers:
        replace_durably(path, dumps(numbers))


def subnet(number: int) -> str:
    """The network of an app."""
    return f"10.88.{number}.0/24"


def service_addresses(release: Release, number: int, slot: str = slots.A) -> dict[str, str]:
    """Address of each service in the app's network."""
    first = FIRST_OF_B if slot == slots.B else 2
    in_network = [s.name for s in release.services if s.privileges.network == "app"]
    return {name: f"10.88.{number}.{first + i}" for i, name in enumerate(in_network)}


def hosts_file(release: Release, addresses: dict[str, str]) -> bytes:
    """The /etc/hosts of every service of an app: the names of all."""
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    for service in release.services:
        if service.name in addresses:
            names = dict.fromkeys([service.name, *service.aliases, *([service.hostname] if service.hostname else [])])
            lines.append(f"{addresses[service.name]}\t{' '.join(names)}")
    return ("\n".join(lines) + "\n").encode()
