"""Ports, networks, names and what a compose service asks of the host's network."""

from __future__ import annotations

import ipaddress
import re

from fleet_release.compose import keys
from fleet_release.compose.model import ComposeProject, ComposeService
from fleet_release.compose.read import Reader
from fleet_release.findings import Mark, did_you_mean
from fleet_release.yaml_tree import Entry, Map, Node

MAX_PORTS = 32
_SHORT = re.compile(
    r"(?:(?P<ip>\[[0-9A-Fa-f:.]+\]|[0-9]+(?:\.[0-9]+){3}):)?(?:(?P<host>[0-9-]*):)?(?P<container>[0-9-]+)(?:/(?P<protocol>[a-z]+))?"
)
NO_HOST_PORT = "name the host's port as well, HOST:CONTAINER: a port that changes at each start cannot be found"


def read_ports(node: Map, service: ComposeService, reader: Reader) -> None:
    """`ports`, short and long; ranges become single ports."""
    out: list[dict[str, object]] = []
    for item in reader.items(node.get("ports"), "ports"):
        out += _long(item, reader) if isinstance(item, Map) else _short(item, reader)
    if len(out) > MAX_PORTS:
        reader.findings.add("E0414", node.entries["ports"].mark, f"{len(out)} ports, at most {MAX_PORTS} are published")
        out = out[:MAX_PORTS]
    if out:
        service.put("ports", out, node.entries["ports"].mark)


def _short(item: Node, reader: Reader) -> list[dict[str, object]]:
    text = reader.text(item, "ports")
    if text is None:
        return []
    found = _SHORT.fullmatch(text.strip())
    if not found:
        reader.findings.add("E0414", item.mark, f"{text[:60]!r} is not a port such as 8080:80 or 127.0.0.1:8080:80/udp")
        return []
    return _ports(
        found["ip"] or "", found["host"] or "", found["container"], found["protocol"] or "tcp", item.mark, reader
    )


def _long(item: Map, reader: Reader) -> list[dict[str, object]]:
    reader.keys(item, keys.PORT, "ports")
    said = {
        key: reader.text(item.get(key), f"ports.{key}") or "" for key in ("host_ip", "published", "target", "protocol")
    }
    if not said["target"]:
        reader.findings.add("E0411", item.mark, "a port needs its target, the port inside the container")
        return []
    return _ports(said["host_ip"], said["published"], said["target"], said["protocol"] or "tcp", item.mark, reader)


def _ports(ip: str, host: str, container: str, protocol: str, mark: Mark, reader: Reader) -> list[dict[str, object]]:
    if not host:
        reader.findings.add("E0421", mark, f"a random host port cannot be honoured: {NO_HOST_PORT}")
        return []
    try:
        address = str(ipaddress.ip_address(ip.strip("[]"))) if ip else ""
        outer, inner = _range(host), _range(container)
        if len(outer) != len(inner):
            raise ValueError(f"{host} and {container} are ranges of different lengths")
        if protocol not in ("tcp", "udp"):
            raise ValueError(f"the protocol is tcp or udp, not {protocol}")
    except ValueError as error:
        reader.findings.add("E0414", mark, f"ports: {error}")
        return []
    return [
        {"host_ip": address, "host_port": h, "container_port": c, "protocol": protocol}
        for h, c in zip(outer, inner, strict=True)
    ]


def _range(text: str) -> range:
    found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", text)
    if not found:
        raise ValueError(f"{text!r} is not a port or a range of ports")
    low, high = int(found[1]), int(found[2] or found[1])
    if not 1 <= low <= high <= 65535 or high - low >= 1000:
        raise ValueError(f"{text} is not within 1 to 65535, or far too long")
    return range(low, high + 1)


def read_network(node: Map, service: ComposeService, reader: Reader) -> None:
    """network_mode, and networks: their aliases count, the networks themselves are one."""
    if (mode := reader.text(node.get("network_mode"), "network_mode")) is not None:
        mark = node.entries["network_mode"].mark
        if mode in ("host", "none"):
            service.put("network", mode, mark)
        elif mode not in ("bridge", "default"):
            why = "a service has its own network namespace; use bridge, host or none"
            reader.findings.add("E0421", mark, f"network_mode: {mode[:40]} cannot be honoured: {why}")
    aliases: list[tuple[str, Mark]] = []
    networks = node.get("networks")
    if isinstance(networks, Map):
        for entry in networks:
            if settings := reader.mapping(entry.node, f"networks.{entry.key}"):
                reader.keys(settings, keys.NETWORK_OF_SERVICE, f"networks.{entry.key}")
                aliases += reader.strings(settings.get("aliases"), f"networks.{entry.key}.aliases")
    if (name := reader.text(node.get("container_name"), "container_name")) is not None:
        aliases.append((name, node.entries["container_name"].mark))
    for name, mark in aliases:
        add_alias(service, name, mark)
    for text, mark in reader.strings(node.get("links"), "links"):
        target, _, alias = text.partition(":")
        service.links.append((target, alias or target, mark))


def add_alias(service: ComposeService, name: str, mark: Mark) -> None:
    """One more name under which others find the service."""
    names = service.fields.setdefault("aliases", [])
    if name not in names and name != service.name:
        service.marks["aliases", len(names)] = mark
        names.append(name)


def names_of_networks(node: Map, reader: Reader) -> list[tuple[str, Mark]]:
    """Networks that a service joins."""
    networks = node.get("networks")
    if isinstance(networks, Map):
        return [(entry.key, entry.mark) for entry in networks]
    return reader.strings(networks, "networks")


def read_top_networks(root: Map, reader: Reader) -> set[str]:
    """The top-level networks; all of them are the app's one network."""
    known = {"default"}
    section = reader.mapping(root.get("networks"), "networks")
    for entry in section or ():
        known.add(entry.key)
        if settings := reader.mapping(entry.node, f"networks.{entry.key}"):
            reader.keys(settings, keys.NETWORK, f"networks.{entry.key}")
    return known


def join_links(project: ComposeProject, reader: Reader) -> None:
    """`links: [db:database]` gives db the name database, and starts it first."""
    for service in project.services.values():
        for target, alias, mark in service.links:
            other = project.services.get(target)
            if other is None:
                close = did_you_mean(target, project.services)
                reader.findings.add("E0441", mark, f"links names {target}, which is not a service", suggestion=close)
                continue
            add_alias(other, alias, mark)
            service.fields.setdefault("depends_on", {}).setdefault(target, "started")


def check_networks(entry: Entry, known: set[str], reader: Reader) -> set[str]:
    """Which networks the service of `entry` joins; unknown ones become findings."""
    joined = set()
    if isinstance(entry.node, Map):
        for name, mark in names_of_networks(entry.node, reader):
            joined.add(name)
            if name not in known:
                close = did_you_mean(name, known)
                reader.findings.add(
                    "E0441", mark, f"the network {name} is not defined under networks", suggestion=close
                )
    return joined or {"default"}
