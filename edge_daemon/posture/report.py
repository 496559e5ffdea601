"""The report of `edge-daemon doctor`, for a person and for a machine."""

from __future__ import annotations

import textwrap
from typing import Any

from edge_daemon.posture.facts import Facts
from edge_daemon.posture.judge import Check, Verdict, passes
from edge_daemon.posture.limits import enforcement

SIGNS = {Verdict.OK: "+", Verdict.WARN: "!", Verdict.FAIL: "x"}
WIDTH = 100


def as_text(facts: Facts, checks: list[Check]) -> str:
    """A table; under each line that is not good, what to do."""
    widest = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f" {SIGNS[check.verdict]} {check.name:<{widest}}  {check.found}")
        if check.verdict is not Verdict.OK and check.mend:
            first, rest = " " * (widest + 5) + "-> ", " " * (widest + 8)
            # a line that is to be copied must come out whole
            long = "cmdline.txt" in check.mend
            lines.extend(
                [first + check.mend]
                if long
                else textwrap.wrap(check.mend, WIDTH, initial_indent=first, subsequent_indent=rest)
            )
    lines.append("")
    lines.append(" limits: " + ", ".join(f"{limit} {means.value}" for limit, means in enforcement(facts).items()))
    failed = sum(check.verdict is Verdict.FAIL for check in checks)
    warned = sum(check.verdict is Verdict.WARN for check in checks)
    verdict = "This host keeps every limit." if passes(checks) else f"{failed} of {len(checks)} checks failed."
    lines.append(f" {verdict}" + (f" {warned} to look at." if warned else ""))
    return "\n".join(lines)


def as_data(facts: Facts, checks: list[Check]) -> dict[str, Any]:
    """The same for -o json."""
    return {
        "ok": passes(checks),
        "host": {
            "kernel": facts.kernel,
            "machine": facts.machine,
            "model": facts.model,
            "cgroups": facts.cgroup_mode.value,
            "memory_bytes": facts.memory_bytes,
            "free_bytes": facts.free_bytes,
        },
        "limits": {limit: means.value for limit, means in enforcement(facts).items()},
        "checks": [
            {
                "name": c.name,
                "verdict": c.verdict.value,
                "found": c.found,
                "mend": "" if c.verdict is Verdict.OK else c.mend,
            }
            for c in checks
        ],
    }


def for_enrolment(facts: Facts, checks: list[Check]) -> dict[str, Any]:
    """What a host tells the operator of itself when it enrols: small, and only what is not as it should be."""
    data = as_data(facts, checks)
    return {
        **data["host"],
        "limits": data["limits"],
        "findings": [f"{c.name}: {c.found}"[:200] for c in checks if c.verdict is not Verdict.OK][:10],
    }
