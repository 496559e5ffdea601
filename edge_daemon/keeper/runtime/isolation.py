"""The one nft table of ours, `inet roadstead`: who may talk to whom, published ports and outbound addresses.

It is always made as a whole from what runs and replaced in one transaction, so it can neither drift nor leave a rule
behind. Rules: an app's services reach each other and the outside; other apps, the host's own services, unpublished
ports and the link-local range (where clouds keep credentials) are out of reach; what is published is reachable.

Published ports and address translation stand here and not in the CNI plugin portmap, because that one costs 45 ms to
add and 111 ms to delete for each container against 7 ms for this whole table, needs iptables, and leaves chains behind
when it is not called (measured on the machine of FACTS.md).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterable
from typing import NotRequired, Self, TypedDict

from edge_daemon.keeper.runtime import programs
from edge_daemon.keeper.runtime.errors import RuntimeFailedError
from edge_daemon.layout import Layout
from edge_daemon.sealed import PortMapping
from edge_daemon.slots import shown, slot_of

ADDRESS = re.compile(r"\d{1,3}(\.\d{1,3}){3}")
NETWORK = re.compile(r"\d{1,3}(\.\d{1,3}){3}/\d{1,2}")
BRIDGE = re.compile(r"rs[0-9a-f]{8}")
EVERYWHERE = ("", "0.0.0.0")  # noqa: S104 - a pattern, nothing is bound here


class Attachment(TypedDict):
    """One container's place in its app's network: `network.json` in its run directory while it has one."""

    app: str
    service: str
    bridge: str
    subnet: str
    gateway: str
    address: str
    ports: list[PortMapping]
    later: NotRequired[list[PortMapping]]  # those that another slot of the app has now


def bridge_name(app: str) -> str:
    """The app's bridge: at most 15 characters, the same on every start, different for different apps."""
    import hashlib

    return "rs" + hashlib.sha256(app.encode()).hexdigest()[:8]


def table(attachments: list[Attachment]) -> str:
    """The text for `nft -f`: pure, the same for the same set in any order."""
    ordered = sorted(attachments, key=lambda a: (a["app"], a["service"]))
    for one in ordered:
        _check(one)
    bridges = sorted({a["bridge"] for a in ordered})
    subnets = sorted({(a["subnet"], a["bridge"]) for a in ordered})
    apps = f"elements = {{ {', '.join(_quoted(b) for b in bridges)} }}" if bridges else ""
    own = (
        f"iifname . oifname {{ {', '.join(f'{_quoted(b)} . {_quoted(b)}' for b in bridges)} }} accept"
        if bridges
        else ""
    )
    outside = [f'ip saddr {net} oifname != "{bridge}" masquerade' for net, bridge in subnets]
    # a service that asks for its own app's published port comes back to the bridge it left
    outside += [f"ip saddr {net} ip daddr {net} ct status dnat masquerade" for net, _ in subnets]
    return f"""table inet roadstead
delete table inet roadstead
table inet roadstead {{
  set apps {{
    type ifname
    {apps}
  }}
  chain input {{
    type filter hook input priority filter - 5; policy accept;
    iifname @apps ct state established,related accept
    iifname @apps icmp type echo-request accept
    iifname @apps counter drop
  }}
  chain forward {{
    type filter hook forward priority filter - 5; policy accept;
    ct state established,related accept
    {own}
    iifname @apps oifname @apps counter drop
    iifname @apps ip daddr 169.254.0.0/16 counter drop
    ct status dnat accept
    oifname @apps counter drop
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    {_lines(rule for a in ordered for p in a["ports"] for rule in _published(a, p, local=False))}
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    {_lines(rule for a in ordered for p in a["ports"] for rule in _published(a, p, local=True))}
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr 127.0.0.0/8 oifname @apps masquerade
    {_lines(outside)}
  }}
}}
"""


def _published(attachment: Attachment, port: PortMapping, *, local: bool) -> list[str]:
    """The rule for one published port. One on a loopback address is for this host's own processes alone."""
    if port["host_ip"] in EVERYWHERE:
        where = "fib daddr type local"
    elif port["host_ip"].startswith("127.") and not local:
        return []  # a neighbour may well send packets for 127.0.0.1 to this host
    else:
        where = f"ip daddr {port['host_ip']}"
    target = f"{attachment['address']}:{port['container_port']}"
    return [f"{where} {port['protocol']} dport {port['host_port']} dnat ip to {target}"]


def _check(attachment: Attachment) -> None:
    """Refuse what could be read as anything but an address, a port or a bridge of ours."""
    good = (
        BRIDGE.fullmatch(attachment["bridge"])
        and NETWORK.fullmatch(attachment["subnet"])
        and ADDRESS.fullmatch(attachment["address"])
    )
    element = f"{attachment['app']}/{attachment['service']}"
    if not good:
        raise RuntimeFailedError("its network address is not a plain IPv4 address", element=element)
    for port in attachment["ports"]:
        if port["protocol"] not in ("tcp", "udp"):
            raise RuntimeFailedError(f"{port['protocol']} ports cannot be published", element=element)
        if port["host_ip"] not in EVERYWHERE and not ADDRESS.fullmatch(port["host_ip"]):
            raise RuntimeFailedError(
                f"port {int(port['host_port'])} is published on {port['host_ip']}, but app networks are IPv4 only",
                element=element,
            )
        if not (0 < int(port["host_port"]) < 65536 and 0 < int(port["container_port"]) < 65536):
            raise RuntimeFailedError("a published port is out of range", element=element)


def clash(attachments: list[Attachment], new: Attachment) -> str | None:
    """Who of the others already publishes one of the new one's ports, in words."""
    for other in attachments:
        if other["app"] == new["app"] and shown(other["service"]) == shown(new["service"]):
            continue  # itself, or itself in the other slot: see `behind`
        for ours in new["ports"]:
            for theirs in other["ports"]:
                same = (ours["protocol"], ours["host_port"]) == (theirs["protocol"], theirs["host_port"])
                everywhere = ours["host_ip"] in EVERYWHERE or theirs["host_ip"] in EVERYWHERE
                if same and (everywhere or ours["host_ip"] == theirs["host_ip"]):
                    return f"port {ours['host_port']} is already published by {other['app']}/{other['service']}"
    return None


def behind(attachments: list[Attachment], new: Attachment) -> Attachment:
    """As it joins: without the ports that its app's other slot has now; they are handed over when it is up."""
    slot, theirs = slot_of(new["service"]), False
    for other in attachments:
        theirs |= other["app"] == new["app"] and slot_of(other["service"]) != slot and bool(other["ports"])
    return {**new, "ports": [], "later": new["ports"]} if theirs and new["ports"] else new


def handed(attachments: list[Attachment], app: str, slot: str) -> list[Attachment]:
    """Those that change when an app's published ports go to one slot, as they then are. Doing it twice does no harm."""
    out: list[Attachment] = []
    for one in attachments:
        has, lacks = one["ports"], one.get("later", [])
        if one["app"] == app and slot_of(one["service"]) == slot and lacks:
            out.append({**one, "ports": lacks, "later": []})
        elif one["app"] == app and slot_of(one["service"]) != slot and has:
            out.append({**one, "ports": [], "later": has})
    return out


class Networks:
    """The lock over all attachments of this host; inside it they can be read and the table replaced."""

    def __init__(self, layout: Layout) -> None:
        self._containers = str(layout.containers)
        self._lock_file = f"{layout.run}/network.lock"
        self._handle = -1

    def __enter__(self) -> Self:
        self._handle = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def attachments(self) -> list[Attachment]:
        """Those of all containers that have one now."""
        out: list[Attachment] = []
        try:
            names = sorted(os.listdir(self._containers))
        except FileNotFoundError:
            return out
        for name in names:
            try:
                with open(f"{self._containers}/{name}/network.json", encoding="utf-8") as file:
                    out.append(json.load(file))
            except (FileNotFoundError, NotADirectoryError):
                continue
        return out

    def hand_over(self, app: str, service: str) -> None:
        """The app's published ports lead to the slot of this service from now on; connections that stand, stay."""
        from pathlib import Path

        from fleet_protocol.wire.durable import replace_for_this_boot  # in the starter alone

        for one in handed(self.attachments(), app, slot_of(service)):
            folder = Path(self._containers) / f"{app}.{one['service']}"
            replace_for_this_boot(folder / "network.json", json.dumps(one).encode())
        self.replace_table()

    def replace_table(self) -> None:
        """Make the kernel's table say what the attachments say."""
        done = programs.run(["nft", "-f", "-"], stdin=table(self.attachments()).encode())
        if done.status != 0:
            raise RuntimeFailedError(f"the isolation of apps could not be set up, nft says: {_cause(done)}")


def _cause(done: programs.Finished) -> str:
    for line in done.err.decode(errors="replace").splitlines():
        if "Error:" in line:
            return line.partition("Error:")[2].strip()[:300]
    return done.words()


def _quoted(name: str) -> str:
    return f'"{name}"'


def _lines(rules: Iterable[str]) -> str:
    return "\n    ".join(rules)
