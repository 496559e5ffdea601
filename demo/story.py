"""`./dev demo`: the whole product on one machine, from nothing to a signed app on three hosts.

Every step is what an owner would type; the same commands stand in the README. With `--check` each step is asserted, the
outage and the refusals are played too, and everything is taken down at the end.
"""

from __future__ import annotations

import argparse
import sys
import time

from demo import machine, steps, trials
from demo.steps import Step


def main() -> int:
    """0 when every step did what it says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    if sys.platform != "linux" or machine.os.geteuid() != 0:
        print("The demo runs containers in control groups of its own: it needs Linux and root.", file=sys.stderr)
        return 2
    if machine.leftovers():
        machine.down()
    began = time.monotonic()
    story: list[Step] = [*steps.STORY, *(trials.STORY if args.check else ())]
    try:
        passed = all(play(step) for step in story)
    except KeyboardInterrupt:
        left = machine.down()
        said = f"left behind: {', '.join(left)}" if left else "nothing of the demo is left."
        print("Stopped;", said, file=sys.stderr)
        return 130
    if args.check:
        gone = play(Step("everything is taken down, nothing is left", taken_down))
        passed = passed and gone
        print(f"{'all steps passed' if passed else 'FAILED'} in {time.monotonic() - began:.1f} s")
    elif passed:
        print(steps.what_next())
    else:
        print("The demo stopped. Its logs are in", machine.RUN, "- take it down with ./dev down", file=sys.stderr)
    return 0 if passed else 1


def play(step: Step) -> bool:
    """Run one step and print one line for it."""
    began = time.monotonic()
    try:
        said = step.run()
    except Exception as error:  # whatever ends a step, the rest is still taken down
        print(f"FAIL {time.monotonic() - began:6.2f} s  {step.title}: {type(error).__name__}: {error}", flush=True)
        for name in ("server", "broker", *machine.EDGES):
            if text := machine.log_of(name):
                print(f"--- {name}\n{text}", file=sys.stderr)
        return False
    print(f"ok   {time.monotonic() - began:6.2f} s  {step.title}", flush=True)
    if said:
        print("\n".join(f"       {line}" for line in said.splitlines()), flush=True)
    return True


def taken_down() -> str:
    """Asserts that nothing of the demo is left."""
    left = machine.down()
    assert not left, f"left behind: {', '.join(left)}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
