"""docs/limits.md, made from the table of `edge-daemon doctor`: `python -m edge_daemon.posture.limits_page FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

from edge_daemon.posture.limits import TABLE, Kept, Limit, Means
from fleet_protocol.wire.durable import replace_durably

HEAD = """# Limits

Made from the table that the daemon uses (`python -m edge_daemon.posture.limits_page docs/limits.md`). Every container
has a hard limit of memory, processor time, processes and open files; `fleet lint` gives small ones where none is named.

**Enforced**: the kernel keeps it. **Emulated**: the keeper does, with a delay. **Absent**: nothing keeps it on such a
host; a release that asks for it runs without. `edge-daemon doctor` says which of these hold on the host at hand, and
what to change where memory cannot be limited (`cgroup_disable=memory`).

| limit | in a release | cgroup v2 | cgroup v1 | live | |
|---|---|---|---|---|---|
"""
TAIL = """
## Where the groups stand

`edge-daemon run --cgroup-driver systemd`, the default where systemd is PID 1 on cgroup v2, puts all containers into
`roadstead-containers.service` in `roadstead-apps.slice`, a unit that systemd has handed over (`Delegate=yes`):
`systemd-cgls /roadstead.slice` shows them. Stopping that unit stops all containers; restarting `edge-daemon.service`
stops none. `--cgroup-driver cgroupfs`, the default elsewhere, makes the groups below `--cgroup-parent`. A revision is
made for one place: a host that changes its driver or parent needs a new desired state before it starts anything again.

## Live changes

A release that differs from the running one by limits marked *live* alone, or by nothing but its version, is applied to
the running containers: same process, no restart, and the event `limits.changed` says what changed. The new release has
its health window all the same. Anything else that differs makes a replacement. What the kernel refuses, that is less
memory than the container can give back, makes a replacement too; the event `limits.not-live` says so.

A writable root keeps the size that it had at the start, within the new memory limit.

## Admission

Before anything is fetched, the limits of all apps of a document are added up; an app with a `total` counts for no
more than that. Together they must fit into the host's
memory (or the limit of the group that containers run in, if lower) less a reserve, and into three quarters of its
process ids. Processor time may be promised more than once, but no service may be promised more cores than there are.
A refusal says how much of what is missing, and who asks for it:

> While planning, admission failed: needs 184 MiB more memory than this host gives to apps (1.7 GiB): cam asks 1.0 GiB,
> shop 900 MiB

The reserve is a tenth of the memory, at least 64 MiB; `reserve_memory_bytes` in the host's `policy.json` sets another.
"""


def page() -> str:
    """The whole page as Markdown."""
    return HEAD + "".join(_row(name, limit) for name, limit in TABLE.items()) + TAIL


def _row(name: str, limit: Limit) -> str:
    field = f"`{limit.field}`" if limit.field else "always"
    live = "yes" if limit.live else "no"
    return f"| {name} | {field} | {_kept(limit.v2)} | {_kept(limit.v1)} | {live} | {limit.note} |\n"


def _kept(kept: Kept) -> str:
    if kept.means is Means.ABSENT:
        return kept.means.value
    file = f"`{kept.file}`" if "." in kept.file else kept.file
    return kept.means.value if kept.means is Means.EMULATED else f"{kept.means.value}, {file}"


if __name__ == "__main__":
    replace_durably(Path(sys.argv[1]).absolute(), page().encode(), 0o644)
