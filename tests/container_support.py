"""Containers of a sealed revision, run by the keeper's own runtime in a network namespace of the test's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prepare_support import Site

from edge_daemon.keeper.ports import StartSpec
from edge_daemon.keeper.runtime import groups, namespaces
from edge_daemon.keeper.runtime.host import HostRuntime


@contextmanager
def runtime(site: Site) -> Iterator[HostRuntime]:
    """The keeper's runtime on this host, in a network namespace of the test's own."""
    with namespaces.inside(None):
        namespaces.set_up("lo", up=True)
        made = HostRuntime(site.layout, site.cgroup_parent)
        made.setup()
        try:
            yield made
        finally:
            for one in made.seen():
                made.remove(one.app, one.service)
            made.prune(set())
            for group in ("daemon", "prepare", "apps", "monitors", ""):
                groups.remove(made.hierarchies, f"{site.cgroup_parent}/{group}".rstrip("/"))


def spec(site: Site, service: str = "web") -> StartSpec:
    revision = site.revision()
    sealed = next(s for s in revision["services"] if s["name"] == service)
    return StartSpec("cam", sealed, revision, site.index()["apps"]["cam"]["seal"], 64 * 1024)


def output(site: Site, service: str = "web", until: str = "== end") -> str:
    log = site.layout.logs / "cam" / service / "ctr.log"
    deadline = time.monotonic() + 20
    while True:
        lines = log.read_text().splitlines() if log.exists() else []
        said = "\n".join(line.split(" ", 3)[3] for line in lines)
        if until in said:
            return said
        assert time.monotonic() < deadline, said
        time.sleep(0.05)
