"""May this host run what is asked of it? Decided before anything is fetched or changed. Pure: no file is read here.

Rules: memory is promised once, so the hard limits of all containers together, or their app's total where that is
less, must fit beside the host's own reserve, twice for an app that is updated start-first; processes likewise;
processor time may be promised more than once, but no container may be promised more than there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from edge_daemon.prepare.errors import AdmissionError
from fleet_protocol.documents.release import Release, Total

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
LEAST_RESERVE = 64 * MIB
RESERVE_PART = 10  # a tenth
PIDS_KEPT_PART = 4  # a quarter of all process ids stays with the host
NAMED_AT_MOST = 6


class Capacity(NamedTuple):
    """What a host has, and what of it is not for apps."""

    memory_bytes: int | None  # None: nobody could tell, so nothing is refused for it
    reserve_bytes: int
    cpus: int
    pids: int | None


class Ask(NamedTuple):
    """The limits of one app, summed up; no more than its total."""

    app: str
    memory_bytes: int
    pids: int


def capacity(
    *,
    memory_total: int | None,
    group_memory: int | None,
    reserve: int | None,
    cpus: int,
    pid_max: int | None,
    group_pids: int | None,
) -> Capacity:
    """`group_*` are limits of the groups that hold the apps.

    The reserve is the host's: it comes off the host's memory, and not off a group's limit, which leaves it room by
    being lower.
    """
    held = default_reserve(memory_total or 0) if reserve is None else reserve
    memory = memory_total
    if group_memory is not None and (memory_total is None or group_memory < memory_total - held):
        memory, held = group_memory, 0
    ids = pid_max - pid_max // PIDS_KEPT_PART if pid_max is not None else None
    known = [number for number in (ids, group_pids) if number is not None]
    return Capacity(memory, held, cpus, min(known) if known else None)


def default_reserve(memory_bytes: int) -> int:
    """64 MiB, or a tenth where that is more."""
    return max(LEAST_RESERVE, memory_bytes // RESERVE_PART)


def admit(releases: Iterable[Release], has: Capacity) -> None:
    """Raises AdmissionError that says how much of what is missing and who asks for it."""
    wanted = tuple(releases)
    _check_cpus(wanted, has.cpus)
    asks = [_ask(release) for release in wanted]
    if has.memory_bytes is not None:
        gives = max(0, has.memory_bytes - has.reserve_bytes)
        asked = sum(ask.memory_bytes for ask in asks)
        if asked > gives:
            raise AdmissionError(
                f"needs {size(asked - gives)} more memory than this host gives to apps ({size(gives)}): "
                + _who([(ask.app, ask.memory_bytes) for ask in asks], size),
                hint="lower memory limits, move an app to another device, or lower reserve_memory_bytes in policy.json",
            )
    if has.pids is not None and (processes := sum(ask.pids for ask in asks)) > has.pids:
        raise AdmissionError(
            f"needs {processes - has.pids} more processes than this host gives to apps ({has.pids}): "
            + _who([(ask.app, ask.pids) for ask in asks], str),
            hint="lower the pids limits, or raise kernel.pid_max on the host",
        )


def size(count: int) -> str:
    """Bytes for people; a lack is never shown as 0."""
    if count >= GIB:
        return f"{count / GIB:.1f} GiB"
    return f"{-(-count // MIB)} MiB" if count >= MIB else f"{-(-count // KIB)} KiB"


def _ask(release: Release) -> Ask:
    limits, total = [service.limits for service in release.services], release.total or Total()
    memory, pids = sum(x.memory_bytes for x in limits), sum(x.pids for x in limits)
    at_once = 2 if release.strategy == "start-first" else 1  # while it is updated, both revisions run
    memory, pids = at_once * memory, at_once * pids
    return Ask(release.app, min(memory, total.memory_bytes or memory), min(pids, total.pids or pids))


def _check_cpus(releases: tuple[Release, ...], cpus: int) -> None:
    for release in releases:
        for service in release.services:
            if (asked := service.limits.cpu_millis) > cpus * 1000:
                raise AdmissionError(
                    f"needs {(asked - cpus * 1000) / 1000:g} more processor cores than this host has ({cpus}): "
                    f"{release.app}/{service.name} asks {asked / 1000:g}",
                    element=f"{release.app}.{service.name}",
                    hint="lower cpus to what the host has",
                )


def _who(asked: list[tuple[str, int]], show: Callable[[int], str]) -> str:
    """Who holds it, the largest first."""
    ordered = sorted(asked, key=lambda one: (-one[1], one[0]))
    shown, rest = ordered[:NAMED_AT_MOST], ordered[NAMED_AT_MOST:]
    words = [f"{app} asks {show(count)}" if i == 0 else f"{app} {show(count)}" for i, (app, count) in enumerate(shown)]
    if rest:
        words.append(f"{len(rest)} more {show(sum(count for _, count in rest))}")
    return ", ".join(words)
