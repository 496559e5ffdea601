"""Where a revision of an app stands on a host: slot a or b, so that two can run side by side. Standard library only.

In slot b a service, its container, its control group and its records are called `<service>.b`; no name of a service
has a dot. The last digit of the name of a start-first app's revision is its slot, so that the same release and
configuration is known for the same in either.
"""

from __future__ import annotations

A, B = "a", "b"


def unit(service: str, slot: str) -> str:
    """What a service is called in a slot."""
    return f"{service}.{B}" if slot == B else service


def shown(name: str) -> str:
    """The service as its engineer knows it."""
    return name.partition(".")[0]


def slot_of(name: str) -> str:
    """The slot that a unit is in."""
    return B if name.endswith(f".{B}") else A


def named(digest: str, slot: str) -> str:
    """The name of a start-first app's revision in a slot."""
    return digest[:-1] + slot


def twin(revision: str) -> str:
    """The same release and configuration in the other slot, if the app is start-first; else nobody's name."""
    return revision[:-1] + {A: B, B: A}[revision[-1]] if revision[-1:] in (A, B) else revision
