"""A service's place in its app's network: the CNI plugin `bridge`, called directly. Starter only.

Addresses come from the sealed revision, so the IPAM plugin is `static`: it keeps no state, and nothing of an earlier
boot or a lost DEL can stand in the way of the next start.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

from edge_daemon.keeper.runtime import namespaces, programs
from edge_daemon.keeper.runtime.errors import RuntimeFailedError
from edge_daemon.keeper.runtime.isolation import Attachment, bridge_name
from edge_daemon.sealed import Revision, SealedService

CNI_FOLDERS = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
CNI_VERSION = "0.4.0"  # the newest that the plugins of Debian 11 and 12 both speak
INTERFACE = "eth0"


def attachment(revision: Revision, service: SealedService) -> Attachment:
    """Where the sealed revision puts this service."""
    network, _, _ = revision["subnet"].partition("/")
    return Attachment(
        app=revision["app"],
        service=service["name"],
        bridge=bridge_name(revision["app"]),
        subnet=revision["subnet"],
        gateway=network.rpartition(".")[0] + ".1",
        address=service["address"],
        ports=service["ports"],
    )


def plugin_folder() -> str:
    """Where the CNI plugins are."""
    for folder in CNI_FOLDERS:
        if os.access(f"{folder}/bridge", os.X_OK) and os.access(f"{folder}/static", os.X_OK):
            return folder
    raise RuntimeFailedError(
        "the CNI plugins bridge and static are not installed", hint="install the package containernetworking-plugins"
    )


def join(run: str, place: Attachment, netns: str) -> None:
    """Give the namespace its address on its app's bridge, and let this host's own processes reach its ports."""
    folder = plugin_folder()
    with _bridge_lock(run, place["bridge"]):
        done = programs.run(
            [f"{folder}/bridge"],
            stdin=json.dumps(_configuration(place)).encode(),
            environment={
                "CNI_COMMAND": "ADD",
                "CNI_CONTAINERID": f"{place['app']}.{place['service']}",
                "CNI_NETNS": netns,
                "CNI_IFNAME": INTERFACE,
                "CNI_PATH": folder,
            },
        )
    if done.status != 0:
        raise RuntimeFailedError(f"it could not join the network of its app: {_cause(done)}")
    if place["ports"] or place.get("later"):
        # guarded by the input chain: from the bridge, nothing but answers reaches this host
        namespaces.write_sysctl(f"ipv4/conf/{place['bridge']}/route_localnet", "1")


@contextmanager
def _bridge_lock(run: str, bridge: str) -> Iterator[None]:
    """One at a time on a bridge: two that both make it trip over each other."""
    handle = os.open(f"{run}/{bridge}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _configuration(place: Attachment) -> dict[str, object]:
    length = place["subnet"].partition("/")[2]
    return {
        "cniVersion": CNI_VERSION,
        "name": f"roadstead-{place['app']}",
        "type": "bridge",
        "bridge": place["bridge"],
        "isGateway": True,
        "isDefaultGateway": True,
        "ipMasq": False,  # our own table does it
        "ipam": {
            "type": "static",
            "addresses": [{"address": f"{place['address']}/{length}", "gateway": place["gateway"]}],
        },
    }


def _cause(done: programs.Finished) -> str:
    try:
        return str(json.loads(done.out)["msg"])[:300]
    except (ValueError, KeyError, TypeError):
        return done.words()
