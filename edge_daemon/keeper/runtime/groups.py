"""Make, limit, join and remove cgroups, on v1 and v2.

On v2 a group either holds processes or hands controllers down, so the keeper, prepare and each service live in leaves:
`<parent>/daemon`, `<parent>/prepare`, `<parent>/apps/<app>/<service>`.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from edge_daemon.keeper.runtime import readings
from edge_daemon.keeper.runtime.errors import RuntimeFailedError
from edge_daemon.keeper.runtime.hierarchies import Hierarchies
from edge_daemon.sealed import LimitValues, TotalValues

HANDED_DOWN = ("memory", "cpu", "cpuset", "pids", "io")  # v2
MADE_ON_V1 = ("memory", "cpu", "cpuacct", "pids", "blkio")  # the runtime makes the others itself, for each container
CPU_PERIOD_US = 100_000


def make(hierarchies: Hierarchies, group: str, *, leaf: bool) -> None:
    """Make `group` and what it stands in. A leaf may hold processes; any other hands its controllers down."""
    if hierarchies.version == "none":
        raise RuntimeFailedError(
            "no cgroup hierarchy is mounted", element=group, hint="mount cgroup2 on /sys/fs/cgroup"
        )
    for controller in MADE_ON_V1:
        if controller in hierarchies.v1:
            _make_v1(hierarchies.v1[controller], group)
    if hierarchies.unified is not None and hierarchies.unified_controllers:
        _make_v2(hierarchies.unified, group, leaf=leaf)


def _make_v1(mount: str, group: str) -> None:
    path = mount
    for part in group.strip("/").split("/"):
        path = f"{path}/{part}"
        try:
            os.mkdir(path)
        except FileExistsError:
            continue
        except OSError as error:
            raise _failed("made", path, error) from error
        if readings.Files(path, v2=False).text("memory.use_hierarchy") == "0\n":
            write(
                path, "memory.use_hierarchy", "1"
            )  # kernels before 5.11: else the parent's limit is not the children's


def _make_v2(mount: str, group: str, *, leaf: bool) -> None:
    path, parts = mount, group.strip("/").split("/")
    for part in parts:
        _hand_down(path)
        path = f"{path}/{part}"
        try:
            os.mkdir(path)
        except FileExistsError:
            continue
        except OSError as error:
            raise _failed("made", path, error) from error
    if not leaf:
        _hand_down(path)


def _hand_down(path: str) -> None:
    """Enable in the children of `path` every controller of ours that `path` has."""
    own = readings.Files(path, v2=True)
    has = (own.text("cgroup.controllers") or "").split()
    enabled = (own.text("cgroup.subtree_control") or "").split()
    for controller in HANDED_DOWN:
        if controller in has and controller not in enabled:
            try:
                write(path, "cgroup.subtree_control", f"+{controller}")
            except RuntimeFailedError as error:
                if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EBUSY:
                    raise RuntimeFailedError(
                        f"{path} holds processes of its own, so it cannot hand down {controller}",
                        element=path,
                        hint="start the daemon with --cgroup-parent naming a group that holds no process",
                    ) from error
                raise


def join(hierarchies: Hierarchies, group: str, pid: int) -> None:
    """Move a process into `group` in every hierarchy where `make` made it."""
    mounts = {hierarchies.v1[c] for c in MADE_ON_V1 if c in hierarchies.v1}
    if hierarchies.unified is not None and hierarchies.unified_controllers:
        mounts.add(hierarchies.unified)
    for mount in sorted(mounts):
        write(mount + group, "cgroup.procs", str(pid))


def enclose(hierarchies: Hierarchies, group: str, pid: int, limits: LimitValues) -> None:
    """Move a process into a group of its own with these limits. One that has ended already is no error."""
    make(hierarchies, group, leaf=True)
    apply(hierarchies, group, limits)
    with _unless(errno.ESRCH):
        join(hierarchies, group, pid)


def remove(hierarchies: Hierarchies, group: str) -> bool:
    """Remove the group and its empty descendants everywhere; whether nothing of it is left."""
    gone = True
    for mount in hierarchies.mounts():
        _remove_tree(mount + group)
        gone = gone and not os.path.isdir(mount + group)
    return gone


def _remove_tree(path: str) -> None:
    try:
        with os.scandir(path) as entries:
            below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        for child in below:
            _remove_tree(child)
        os.rmdir(path)
    except OSError:
        pass  # not there, or still in use: the caller looks


def kill(hierarchies: Hierarchies, group: str) -> None:
    """SIGKILL every process that is still in `group`."""
    for mount in hierarchies.mounts():
        for text in (readings.Files(mount + group, v2=True).text("cgroup.procs") or "").split():
            try:
                os.kill(int(text), signal.SIGKILL)
            except ProcessLookupError:
                continue


def apply(hierarchies: Hierarchies, group: str, limits: LimitValues) -> None:
    """Write the limits that the kernel can change while processes run. A missing controller is an error.

    Memory comes first: it alone can be refused. Rates of disks are `disk_rates`'.
    """
    _apply_memory(hierarchies, group, limits)
    _apply_cpu(hierarchies, group, limits)
    write(_folder(hierarchies, "pids", group), "pids.max", str(limits["pids"]))


def apply_total(hierarchies: Hierarchies, group: str, total: TotalValues) -> None:
    """Leave exactly these limits on an app's own group: what is not in it is taken away.

    v1 refuses a lower processor limit while a container below has a higher one. It is left then: whoever changes the
    last of them calls this again.
    """
    memory, millis, pids = total.get("memory_bytes"), total.get("cpu_millis"), total.get("pids")
    for controller, most in (("memory", memory), ("cpu", millis), ("pids", pids)):
        if hierarchies.folder(controller, group) is None and most is None:
            continue
        if controller == "memory":
            _limit_memory(hierarchies, group, most)
        elif controller == "pids":
            write(_folder(hierarchies, "pids", group), "pids.max", str(most or "max"))
        else:
            with _unless(errno.EINVAL):
                _limit_cpu(hierarchies, group, most)


@contextmanager
def _unless(number: int) -> Iterator[None]:
    try:
        yield
    except RuntimeFailedError as error:
        if not isinstance(error.__cause__, OSError) or error.__cause__.errno != number:
            raise


def harden(hierarchies: Hierarchies, group: str, limits: LimitValues) -> None:
    """What the OCI configuration cannot say for both versions: written between create and start, on v2 alone."""
    if not hierarchies.is_v2("memory"):
        return
    folder = _folder(hierarchies, "memory", group)
    write(folder, "memory.oom.group", "1")  # an OOM kill takes the whole container, so that its end is seen
    write(folder, "memory.high", str(limits.get("memory_high_bytes", "max")))
    if readings.Files(folder, v2=True).text("memory.swap.max") is not None:
        write(folder, "memory.swap.max", "0")


def _apply_memory(hierarchies: Hierarchies, group: str, limits: LimitValues) -> None:
    _limit_memory(hierarchies, group, limits["memory_bytes"])
    if hierarchies.is_v2("memory"):
        write(_folder(hierarchies, "memory", group), "memory.high", str(limits.get("memory_high_bytes", "max")))


def _limit_memory(hierarchies: Hierarchies, group: str, most: int | None) -> None:
    """Without swap; None: no limit."""
    folder = _folder(hierarchies, "memory", group)
    own = readings.Files(folder, hierarchies.is_v2("memory"))
    if own.v2:
        if own.text("memory.swap.max") is not None:
            write(folder, "memory.swap.max", "0")
        if most is not None:
            _give_back(own, folder, most)
        write(folder, "memory.max", str(most or "max"))
        return
    wanted = most or -1
    # v1 keeps memory <= memory+swap at every moment: raise the outer limit first, lower it last
    outer = readings.number(own.text("memory.memsw.limit_in_bytes"))
    names = ["memory.limit_in_bytes"]
    if outer is not None:
        names.insert(0 if most is None or most > outer else 1, "memory.memsw.limit_in_bytes")
    for name in names:
        try:
            write(folder, name, str(wanted))
        except RuntimeFailedError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EBUSY:
                raise _too_full(readings.number(own.text("memory.usage_in_bytes")), wanted) from error
            raise


def _give_back(own: readings.Files, folder: str, wanted: int) -> None:
    """v2 would kill where v1 refuses: press what can be given back out of it first, and refuse if too much stays."""
    used, before = readings.number(own.text("memory.current")), own.text("memory.high")
    if used is None or used <= wanted:
        return
    write(folder, "memory.high", str(wanted))
    used = readings.number(own.text("memory.current"))
    if used is not None and used > wanted:
        write(folder, "memory.high", (before or "max").strip())
        raise _too_full(used, wanted)


def _too_full(used: int | None, wanted: int) -> RuntimeFailedError:
    holds = f"{-(-(used or 0) // 1024)} KiB" if used else "more"
    return RuntimeFailedError(f"it holds {holds} of memory and cannot give back enough for {wanted // 1024} KiB")


def _apply_cpu(hierarchies: Hierarchies, group: str, limits: LimitValues) -> None:
    _limit_cpu(hierarchies, group, limits["cpu_millis"])
    folder = _folder(hierarchies, "cpu", group)
    if hierarchies.is_v2("cpu"):
        write(folder, "cpu.weight", str(limits["cpu_weight"]))
    else:
        # 100 and 1024 are the kernel's own defaults of the two scales
        write(folder, "cpu.shares", str(max(2, limits["cpu_weight"] * 1024 // 100)))
    _apply_cpuset(hierarchies, group, limits.get("cpuset"))


def _limit_cpu(hierarchies: Hierarchies, group: str, millis: int | None) -> None:
    """None: no limit."""
    folder, quota = _folder(hierarchies, "cpu", group), millis * CPU_PERIOD_US // 1000 if millis else None
    if hierarchies.is_v2("cpu"):
        write(folder, "cpu.max", f"{quota or 'max'} {CPU_PERIOD_US}")
    else:
        write(folder, "cpu.cfs_period_us", str(CPU_PERIOD_US))
        write(folder, "cpu.cfs_quota_us", str(quota or -1))


def _apply_cpuset(hierarchies: Hierarchies, group: str, cores: str | None) -> None:
    """Only these cores, or all again that the group around it has."""
    if cores is None:
        own = readings.files(hierarchies, "cpuset", group)
        if own.text("cpuset.cpus") is None:
            return
        # v2 takes nothing for "all"; v1 wants them written out
        around = readings.files(hierarchies, "cpuset", group.rpartition("/")[0])
        cores = "\n" if own.v2 else (around.text("cpuset.cpus") or "").strip()
    write(_folder(hierarchies, "cpuset", group), "cpuset.cpus", cores)


def _folder(hierarchies: Hierarchies, controller: str, group: str) -> str:
    folder = hierarchies.folder(controller, group)
    if folder is None:
        raise RuntimeFailedError(f"this kernel has no {controller} controller to hold the limit", element=group)
    return folder


def write(folder: str, name: str, value: str) -> None:
    """Write one control file."""
    try:
        handle = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(handle, value.encode())
        finally:
            os.close(handle)
    except OSError as error:
        raise _failed(f"set to {value}", f"{folder}/{name}", error) from error


def _failed(what: str, path: str, error: OSError) -> RuntimeFailedError:
    return RuntimeFailedError(f"{path} could not be {what}: {error.strerror}", element=path)
