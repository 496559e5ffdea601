"""Taking away what nobody needs any more: of an earlier boot, and of apps that left this host."""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import suppress

from edge_daemon.keeper.runtime import groups, mounts, namespaces, volumes
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
    volumes.unmount_others(layout, apps)
    for folder in ("apps", "monitors"):
        for name in _names(hierarchies, f"{cgroup_parent}/{folder}"):
            if name.partition(".")[0] not in apps:
                groups.remove(hierarchies, f"{cgroup_parent}/{folder}/{name}")


def _names(hierarchies: Hierarchies, group: str) -> set[str]:
    """The groups in `group`, whichever hierarchy they stand in."""
    out: set[str] = set()
    for mount in hierarchies.mounts():
        with suppress(OSError), os.scandir(mount + group) as entries:
            out |= {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
    return out
