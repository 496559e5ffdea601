"""The keeper's child process for what blocks: start, retune or remove one container, run its probe's command, or prune.

    python -I -OO -m edge_daemon.keeper.starter start|retune|remove|probe|readiness|prune|settle
        --state-dir D --run-dir R --cgroup-parent P --runtime X
        start  APP SERVICE REVISION SEAL LOGBYTES
        retune APP SERVICE REVISION SEAL           the running container becomes that revision's by its limits alone
        remove APP SERVICE
        probe  APP SERVICE REVISION SEAL           the command is the sealed revision's
        readiness ...                              the same, and the other command
        hook   APP SERVICE REVISION NAME           veto or pre-stop, of the revision that it was started in
        hand-over APP SERVICE                      published ports lead to the slot of this service
        prune  [APP ...]                           the apps to keep
        settle PID                                 give back the idle pages of the keeper, which has this pid

The last line of standard output is `{"pid": n}`, `{"removed": true}`, `{"pruned": true}`, `{"settled": bytes}`,
`{"probe": {"status": n or null when its time was up, "said": "..."}}` or `{"failed": {...}}`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from edge_daemon.keeper.ports import StartSpec
from edge_daemon.keeper.runtime import sealcheck
from edge_daemon.keeper.runtime.errors import RuntimeFailedError
from edge_daemon.keeper.runtime.host import HostRuntime
from edge_daemon.layout import Layout
from edge_daemon.slots import B
from fleet_protocol.wire.bounds import NAME_PATTERN, SHA256_PATTERN, matches
from fleet_protocol.wire.errors import Exit, RoadsteadError

OPTIONS = ("--state-dir", "--run-dir", "--cgroup-parent", "--runtime")
WORDS = {
    "start": 5, "retune": 4, "remove": 2, "probe": 4, "readiness": 4, "hook": 4, "hand-over": 2, "settle": 1,
}  # fmt: skip


class UsageError(RuntimeFailedError):
    """The command line is not what the keeper writes."""

    phase = "reading the command line"
    component = "starter"
    code = "E0720"
    exit_status = Exit.USAGE


def main(arguments: list[str] | None = None) -> int:
    """Do it and print the answer."""
    try:
        answer = _run(sys.argv[1:] if arguments is None else arguments)
        status = Exit.OK
    except RoadsteadError as error:
        answer, status = {"failed": error.as_dict()}, error.exit_status
    except OSError as error:
        failed = RuntimeFailedError(f"{error.strerror} ({error.filename or 'no file'})", retry=True)
        answer, status = {"failed": failed.as_dict()}, failed.exit_status
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    return int(status)


def _run(arguments: list[str]) -> dict[str, object]:
    verb, options, words = parse(arguments)
    os.umask(0o022)
    if verb == "settle":
        from edge_daemon.keeper.runtime import page_out

        return {"settled": page_out.page_out(int(words[0]))}
    layout = Layout(Path(options["--state-dir"]), Path(options["--run-dir"]))
    runtime = HostRuntime(layout, options["--cgroup-parent"], options["--runtime"])
    if verb == "prune":
        runtime.prune(set(words))
        return {"pruned": True}
    if verb == "remove":
        runtime.remove(words[0], words[1])
        return {"removed": True}
    if verb in ("probe", "readiness"):
        from edge_daemon.keeper.runtime import asking, lifecycle

        host = lifecycle.Host(layout, runtime.cgroup_parent, runtime.chosen, runtime.hierarchies)
        return {"probe": asking.ask(host, verb, *words)._asdict()}
    if verb == "hand-over":
        runtime.hand_over(words[0], words[1])
        return {"handed": True}
    if verb == "hook":
        from edge_daemon.keeper.runtime import asking, lifecycle

        host = lifecycle.Host(layout, runtime.cgroup_parent, runtime.chosen, runtime.hierarchies)
        return {"hook": asking.hook(host, *words)._asdict()}
    app, service, revision, seal, *log_bytes = words
    checked = sealcheck.check(layout, app, service, revision, seal)
    if verb == "retune":
        return {"pid": runtime.retune(StartSpec(app, checked.service, checked.revision, seal, 0))}
    return {"pid": runtime.start(StartSpec(app, checked.service, checked.revision, seal, int(log_bytes[0])))}


def parse(arguments: list[str]) -> tuple[str, dict[str, str], list[str]]:
    """(verb, options, words), every word of the shape it must have: they become paths and names on the host."""
    if not arguments or arguments[0] not in (*WORDS, "prune"):
        raise UsageError(f"the first word is one of {', '.join((*WORDS, 'prune'))}")
    verb, rest, options, words = arguments[0], arguments[1:], dict[str, str](), list[str]()
    while rest:
        word = rest.pop(0)
        if word not in OPTIONS:
            words.append(word)
        elif not rest:
            raise UsageError(f"{word} wants a value")
        else:
            options[word] = rest.pop(0)
    if missing := [name for name in OPTIONS if name not in options]:
        raise UsageError(f"{missing[0]} is missing")
    if verb in WORDS and len(words) != WORDS[verb]:
        raise UsageError(f"{verb} takes {WORDS[verb]} words, got {len(words)}")
    names, hashes, numbers = list[str](), list[str](), list[str]()
    if verb == "settle":
        numbers = words
    elif verb == "hook":
        names, hashes = [*words[:2], words[3]], words[2:3]
    else:
        names, hashes, numbers = (words, [], []) if verb == "prune" else (words[:2], words[2:4], words[4:])
    bad = [w for w in names if not matches(NAME_PATTERN, w.removesuffix(f".{B}"))]
    bad += [w for w in hashes if not matches(SHA256_PATTERN, w)]
    bad += [w for w in numbers if not (w.isascii() and w.isdigit())]
    if bad:
        raise UsageError(f"{bad[0][:80]!r} is neither a name, a hash nor a number")
    return verb, options, words


if __name__ == "__main__":
    sys.exit(main())
