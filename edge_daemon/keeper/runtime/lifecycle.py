"""Start and remove one container: the order of effects. Starter only; may block.

Both hold the container's lock, so two starters of one container (the keeper was killed and came back) do not meet.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from edge_daemon.keeper.ports import StartSpec
from edge_daemon.keeper.runtime import (
    asking,
    disk_rates,
    groups,
    monitor,
    mounts,
    namespaces,
    network,
    processes,
    records,
    sealcheck,
    volumes,
)
from edge_daemon.keeper.runtime.choose import Chosen
from edge_daemon.keeper.runtime.errors import PostStartError, RuntimeFailedError
from edge_daemon.keeper.runtime.hierarchies import Hierarchies
from edge_daemon.keeper.runtime.isolation import Networks, behind, clash
from edge_daemon.keeper.runtime.monitor import Place
from edge_daemon.layout import Layout
from edge_daemon.sealed import LimitValues, SealedService

END_SECONDS = 10.0
MONITOR: LimitValues = {"memory_bytes": 16 << 20, "cpu_millis": 100, "cpu_weight": 50, "pids": 16, "nofile": 0}
"""What conmon may use to carry one container's output: a flood of it waits, and takes no time from anybody else."""


class Host:
    """The host's side of one keeper: where things lie and what runs them."""

    def __init__(self, layout: Layout, cgroup_parent: str, chosen: Chosen, hierarchies: Hierarchies) -> None:
        self.layout = layout
        self.apps = f"{cgroup_parent}/apps"
        self.monitors = f"{cgroup_parent}/monitors"
        self.chosen = chosen
        self.hierarchies = hierarchies

    def place(self, app: str, service: str) -> Place:
        """Where this container's files are."""
        return Place(
            name=f"{app}.{service}",
            folder=str(self.layout.container(app, service)),
            runtime_root=str(self.layout.runtime_root),
            log=f"{self.layout.logs}/{app}/{service}/ctr.log",
        )

    def netns(self, place: Place) -> str:
        """The file that holds the container's network namespace."""
        return f"{self.layout.netns}/{place.name}"


def start(host: Host, spec: StartSpec) -> int:
    """Check, make and run one container; its pid. If it already runs in this revision, that is the answer.

    It counts as started once its postStart hook has ended well: whoever finds it before begins again.
    """
    app, service = spec.app, spec.service["name"]
    element, place, group = f"{app}/{service}", host.place(app, service), f"{host.apps}/{app}/{service}"
    checked = sealcheck.check(host.layout, app, service, spec.revision["revision"], spec.seal)
    sealcheck.fits(checked.config, rootfs=f"{place.folder}/rootfs", group=group, element=element)
    with _lock(host, place):
        meta = records.read_meta(place.folder)
        if meta and meta["revision"] == checked.revision["revision"] and _runs(meta) and meta["started_at"]:
            return int(meta["pid"] or 0)
        _take_down(host, place, group)
        try:
            return _bring_up(host, place, group, checked, spec.log_bytes, spec.seal)
        except BaseException as error:
            if isinstance(error, RuntimeFailedError):
                error.element = error.element or element
            with suppress(RuntimeFailedError, OSError):
                _take_down(host, place, group)
            raise


def retune(host: Host, spec: StartSpec) -> int:
    """Give a running container the limits of another revision, and that revision's name; its pid, which stays.

    Whoever calls has seen that nothing but live limits tells the two revisions apart. Doing it twice does no harm.
    """
    app, service = spec.app, spec.service["name"]
    element, place, group = f"{app}/{service}", host.place(app, service), f"{host.apps}/{app}/{service}"
    checked = sealcheck.check(host.layout, app, service, spec.revision["revision"], spec.seal)
    sealcheck.fits(checked.config, rootfs=f"{place.folder}/rootfs", group=group, element=element)
    with _lock(host, place):
        meta = records.read_meta(place.folder)
        if meta is None or meta["boot_id"] != processes.boot_id() or not meta["started_at"] or not _runs(meta):
            raise RuntimeFailedError("it does not run, so its limits cannot be changed", element=element, retry=True)
        try:
            around, total = group.rpartition("/")[0], checked.revision.get("total", {})
            groups.apply_total(host.hierarchies, around, total)
            groups.apply(host.hierarchies, group, checked.service["limits"])
            groups.apply_total(host.hierarchies, around, total)  # what is lowered everywhere is lowered from below
            disk_rates.apply(host.hierarchies, group, disk_rates.of(checked.config["linux"]["resources"]))
        except RuntimeFailedError as error:
            error.element = element
            raise
        meta["revision"], meta["seal"] = checked.revision["revision"], spec.seal
        records.write_meta(place.folder, meta)
        return int(meta["pid"] or 0)


def remove(host: Host, app: str, service: str) -> None:
    """Kill what is left of one container and take everything of it down. Nothing there is no error."""
    place = host.place(app, service)
    with _lock(host, place):
        try:
            _take_down(host, place, f"{host.apps}/{app}/{service}")
        except RuntimeFailedError as error:
            error.element = error.element or f"{app}/{service}"
            raise


def _bring_up(host: Host, place: Place, group: str, checked: sealcheck.Checked, log_bytes: int, seal: str) -> int:
    service, folder, owner = checked.service, place.folder, sealcheck.owner(checked.config)
    meta = records.Meta(
        app=checked.revision["app"], service=service["name"], revision=checked.revision["revision"],
        boot_id=processes.boot_id(), pid=None, start_ticks=None, started_at=None, conmon_pid=None, conmon_ticks=None,
        seal=seal,
    )  # fmt: skip
    os.mkdir(folder)
    os.chmod(folder, 0o711)  # noqa: S103 - searchable by the shifted users, whatever our umask
    records.write_meta(folder, meta)
    records.write_new(f"{folder}/config.json", checked.config_bytes)
    around = group.rpartition("/")[0]
    groups.make(host.hierarchies, around, leaf=False)
    groups.apply_total(host.hierarchies, around, checked.revision.get("total", {}))
    for volume in service["volumes"]:
        volumes.make_ready(host.layout, meta["app"], volume, owner.user_uid, owner.user_gid)
    _make_log(place, log_bytes)
    _make_namespace(host, place, service)
    mounts.mount_root(
        folder,
        [f"{host.layout.layers}/{name}" for name in service["layers"]],
        owner=owner.root_uid,
        group=owner.root_gid,
        upper_bytes=_upper_bytes(checked),
    )
    creating = monitor.Creating(place, host.chosen, log_bytes)
    try:
        _join_network(host, place, checked)  # some 30 ms, while the runtime takes some 40
    except BaseException:
        with suppress(RuntimeFailedError):
            _record(folder, meta, creating.finish())
        raise
    _record(folder, meta, creating.finish())  # before it runs: whatever happens now, its process is known
    if meta["conmon_pid"] is not None:
        groups.enclose(host.hierarchies, f"{host.monitors}/{place.name}", meta["conmon_pid"], MONITOR)
    groups.harden(host.hierarchies, group, service["limits"])
    monitor.start(place, host.chosen)
    started = time.time()
    _post_start(host, place, checked)
    meta["started_at"] = started
    records.write_meta(folder, meta)
    return meta["pid"] or 0


def _post_start(host: Host, place: Place, checked: sealcheck.Checked) -> None:
    hook = asking.hook_of(checked.service, "post-start")
    if hook is None:
        return
    status, said = asking.run_in(host, place, checked, hook["exec_args"], float(hook["timeout_s"]), "hook-post-start")
    if status is None:
        raise PostStartError(f"did not end within {hook['timeout_s']} s", retry=True)
    if status:
        raise PostStartError(f"ended with exit code {status}{f': {said}' if said else ''}", retry=True)


def _record(folder: str, meta: records.Meta, pid: int) -> None:
    meta["pid"], meta["start_ticks"] = pid, processes.start_ticks(pid)
    meta["conmon_pid"] = _number(f"{folder}/conmon.pid")
    meta["conmon_ticks"] = processes.start_ticks(meta["conmon_pid"]) if meta["conmon_pid"] else None
    records.write_meta(folder, meta)


def _make_namespace(host: Host, place: Place, service: SealedService) -> None:
    sysfs = f"{place.folder}/sys"
    os.mkdir(sysfs, 0o755)
    if service["network"] == "host":
        namespaces.mount_sysfs(sysfs)
    else:
        namespaces.make(host.netns(place), sysfs)


def _join_network(host: Host, place: Place, checked: sealcheck.Checked) -> None:
    """Our rules, then the bridge. Both stand before the container starts."""
    if checked.service["network"] != "app":
        return
    attachment = network.attachment(checked.revision, checked.service)
    with Networks(host.layout) as networks:
        others = networks.attachments()
        if (why := clash(others, attachment)) is not None:
            raise RuntimeFailedError(why)
        attachment = behind(others, attachment)
        records.write_new(f"{place.folder}/network.json", json.dumps(attachment).encode())
        networks.replace_table()
    network.join(str(host.layout.run), attachment, host.netns(place))


def _upper_bytes(checked: sealcheck.Checked) -> int:
    if checked.config["root"].get("readonly"):
        return mounts.READ_ONLY_UPPER_BYTES
    return checked.service["limits"]["memory_bytes"]  # it counts against the container's memory in any case


def _make_log(place: Place, log_bytes: int) -> None:
    os.makedirs(os.path.dirname(place.log), 0o700, exist_ok=True)
    monitor.rotate_log(place.log, log_bytes)


def _take_down(host: Host, place: Place, group: str) -> None:
    """Everything that `_bring_up` made, in the reverse order, as far as it is there."""
    folder = place.folder
    meta = records.read_meta(folder)
    if meta is not None and meta["boot_id"] == processes.boot_id():
        _end(host, place, meta, group)
    monitor.delete(place, host.chosen)
    namespaces.destroy(host.netns(place))
    if os.path.exists(f"{folder}/network.json"):
        with Networks(host.layout) as networks:
            os.unlink(f"{folder}/network.json")
            networks.replace_table()
    if os.path.isdir(folder):
        mounts.unmount_below(folder)
        _remove_folder(folder)
    if not groups.remove(host.hierarchies, group):
        groups.kill(host.hierarchies, group)
        _until(lambda: groups.remove(host.hierarchies, group), f"its cgroup {group} still holds processes")
    monitor_group = f"{host.monitors}/{place.name}"
    _until(lambda: groups.remove(host.hierarchies, monitor_group), f"its cgroup {monitor_group} still holds processes")


def _end(host: Host, place: Place, meta: records.Meta, group: str) -> None:
    """Kill the first process and wait until conmon has written down its end: deleting is quick only after that."""
    handle = processes.handle(meta["pid"], meta["start_ticks"])
    if handle is not None:
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            _await_end(handle, "its processes did not end after SIGKILL")
        finally:
            os.close(handle)
    conmon = processes.handle(meta["conmon_pid"], meta["conmon_ticks"])
    if conmon is None:
        groups.kill(host.hierarchies, group)  # a create that was cut short leaves a process that nobody recorded
        return
    try:
        if records.read_exit(place.folder, place.name) is None and not _readable(conmon, 2.0):
            signal.pidfd_send_signal(conmon, signal.SIGKILL)
        _await_end(conmon, "its monitor did not end")
    finally:
        os.close(conmon)


def _await_end(handle: int, otherwise: str) -> None:
    if not _readable(handle, END_SECONDS):
        raise RuntimeFailedError(f"{otherwise} within {END_SECONDS:.0f} s", retry=True)


def _readable(handle: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(int(seconds * 1000)))


def _until(done: Callable[[], bool], otherwise: str) -> None:
    """Wait for what the kernel finishes by itself; a cgroup is free some milliseconds after its last process."""
    deadline = time.monotonic() + END_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise RuntimeFailedError(otherwise, retry=True)
        time.sleep(0.005)


def _remove_folder(folder: str) -> None:
    """Remove a run directory, never anything mounted in it: what is still busy fails here and is tried again."""
    if left := mounts.mount_points(folder):
        raise RuntimeFailedError(f"{left[-1]} could not be unmounted", retry=True)
    shutil.rmtree(folder)


def _runs(meta: records.Meta) -> bool:
    return processes.lives(meta["pid"], meta["start_ticks"])


def _number(path: str) -> int | None:
    with suppress(OSError, ValueError), open(path, encoding="ascii") as file:
        return int(file.read())
    return None


@contextmanager
def _lock(host: Host, place: Place) -> Iterator[None]:
    os.makedirs(f"{host.layout.run}/locks", 0o700, exist_ok=True)
    path = f"{host.layout.run}/locks/{place.name}"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
