"""Taking away what nobody needs any more: of an earlier boot, and of apps that left this host."""

from __future__ import annotations

import os
import shutil
import socket

from edge_daemon.keeper.runtime import groups, mounts, namespaces
from edge_daemon.keeper.runtime.hierarchies import Hierarchies
from edge_daemon.keeper.runtime.isolation import BRIDGE, Networks, bridge_name
from edge_daemon.layout import Layout


def clear(run: str, folders: tuple[str, ...]) -> None:
    """Empty a run directory that outlived a reboot (one that is not on tmpfs). No process of it can be left."""
    for name in folders:
        folder = f"{run}/{name}"
        mounts.unmount_below(folder)
        if not mounts.mount_points(folder):
            shutil.rmtree(folder, ignore_errors=True)


def prune(layout: Layout, hierarchies: Hierarchies, cgroup_parent: str, apps: set[str]) -> None:
    """Take down bridges and cgroups of apps not in `apps`; one that still has a container keeps both."""
    with Networks(layout) as networks:
        keep = {bridge_name(app) for app in apps} | {a["bridge"] for a in networks.attachments()}
        for _, interface in socket.if_nameindex():
            if BRIDGE.fullmatch(interface) and interface not in keep:
                namespaces.delete_bridge(interface)
    for mount in hierarchies.mounts():
        try:
            names = os.listdir(f"{mount}{cgroup_parent}/apps")
        except OSError:
            continue
        for name in names:
            if name not in apps and os.path.isdir(f"{mount}{cgroup_parent}/apps/{name}"):
                groups.remove(hierarchies, f"{cgroup_parent}/apps/{name}")
