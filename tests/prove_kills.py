"""Kills the daemon, prepare and starters at random moments of updates, and looks at what is left after each round.

    prove_kills.py --count 60 --seed 7

Everything is real but the server: keeper, prepare, conmon, the OCI runtime, broker, signatures. The same seed makes the
same choices; which moment of the work a kill meets is the machine's. Needs root.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from prepare_support import MIB
from real_edge_support import Edge, edge_host

from edge_daemon.keeper.runtime.host import HostRuntime

PATIENCE_S = 90.0
WINDOW = {"window_s": 2}
MARKS = {"daemon": "edge_daemon.keeper", "prepare": "edge_daemon.prepare", "starter": "edge_daemon.keeper.starter"}
UPDATES = ("release", "release", "limits", "bad", "guest")
MOST_UNTIL_POISON = 2  # a document that ends prepare three times without an outcome is put off for an hour, rightly


class Wanted(NamedTuple):
    """What the host shall have come to at the end of a round."""

    runs: str  # the release of shop
    desired: str
    memory: int
    guest: bool


class Kill(NamedTuple):
    """Which process, and how long after it was seen (the daemon: after the update)."""

    what: str
    after: float


class InvariantError(AssertionError):
    """An invariant does not hold."""


class Story:
    """The host over all rounds, and what is known of it."""

    def __init__(self, edge: Edge, seed: int) -> None:
        self.edge = edge
        self.seed = seed
        self.chance = random.Random(seed)  # noqa: S311  choices, not secrets
        self.runtime = HostRuntime(edge.site.layout, edge.site.cgroup_parent)
        self.number = 0
        self.last_good = ""
        self.wanted = Wanted("", "", 32 * MIB, guest=False)
        self.bad: set[str] = set()
        self.killed = 0
        self.still = self._app("still", "1.0.0", "sleep 900000")
        self.guest = self._app("guest", "1.0.0", "sleep 900001")
        self.shop: dict[str, Any] = {}
        self.shop_command = ""
        self.identities: dict[str, tuple[int | None, int | None]] = {}

    # -- a round

    def begin(self) -> None:
        """Everything runs once, unharmed."""
        self.edge.online()
        self.edge.keeper.ask(ask="status")
        self._update("release")
        self._until_wanted()
        self.identities = self._identities()
        self._check()

    def round(self) -> str:
        """Update, kill, wait, check. What was done, in words."""
        before = self._identities()
        self.chance = random.Random(f"{self.seed}/{self.number}")  # noqa: S311  one for each round: a long wait shifts none
        update = self.chance.choice(UPDATES)
        kills = self._choose()
        self._update(update)
        done = self._carry_out(kills)
        self._until_wanted()
        self._check()
        self._check_untouched(update, before)
        return f"{update:<8} {self.wanted.desired:<8} killed: {', '.join(done) or 'nothing'}"

    def _choose(self) -> list[Kill]:
        kills, poison = [], 0
        for _ in range(self.chance.randint(1, 4)):
            what = self.chance.choice(("daemon", "daemon", "prepare", "starter"))
            poison += what != "starter"
            if poison <= MOST_UNTIL_POISON or what == "starter":
                kills.append(Kill(what, self.chance.random() * (2.5 if what == "daemon" else 0.3)))
        return kills

    def _update(self, update: str) -> None:
        self.number += 1
        release, guest, memory = f"1.0.{self.number}", self.wanted.guest, self.wanted.memory
        if update == "guest":
            self.wanted = self.wanted._replace(guest=not guest)
        elif update == "bad":
            self.shop = self._app("shop", release, f"sleep 0.{self.number}; exit 3", memory)
            self.bad.add(release)
            self.wanted = Wanted(self.last_good, release, memory, guest)
        else:
            if update == "limits" and self.shop_command:
                memory = 96 * MIB - memory  # 32 and 64 by turns
            else:
                self.shop_command = f"sleep {100_000 + self.number}"
            self.shop = self._app("shop", release, self.shop_command, memory)
            self.last_good = release
            self.wanted = Wanted(release, release, memory, guest)
        self.edge.apply(self.still, self.shop, *([self.guest] if self.wanted.guest else []))

    def _app(self, app: str, release: str, command: str, memory: int = 32 * MIB) -> dict[str, Any]:
        site = self.edge.site
        limits = {"memory_bytes": memory, "cpu_millis": 500, "pids": 16, "nofile": 256}
        service = site.service(self.edge.image, command=[f"exec {command}" if ";" not in command else command],
                               stop_grace_s=1, limits=limits)  # fmt: skip
        return site.release(service, app=app, version=release, health=WINDOW)

    # -- killing

    def _carry_out(self, kills: list[Kill]) -> list[str]:
        done = []
        for kill in kills:
            began = time.monotonic()
            if kill.what == "daemon":
                self._pump(kill.after)
                self.edge.keeper.kill()
                self.killed += 1
                done.append(f"daemon after {kill.after:.2f} s")
                self._pump(self.chance.random() * 0.5)
                self.edge.keeper.start()
                continue
            while not (found := self._processes(kill.what)) and time.monotonic() < began + 3.0:
                self._pump(0.01)
            if not found:
                continue
            self._pump(kill.after)
            victim = self.chance.choice(self._processes(kill.what) or [0])
            if victim:
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                    self.killed += 1
                    done.append(f"{kill.what} {kill.after:.2f} s after its start")
        return done

    def _processes(self, what: str) -> list[int]:
        """Processes of this host that are so, the workers that they forked too."""
        state, found = str(self.edge.site.layout.state).encode(), []
        for pid in _pids():
            words = _words(pid)
            if MARKS[what].encode() in words and state in words:
                found.append(pid)
        return sorted(found)

    def _pump(self, seconds: float) -> None:
        """Let time pass for the server, and see that no two releases of one app run meanwhile."""
        end = time.monotonic() + seconds
        while True:
            self.edge.server.pump(min(0.05, max(0.0, end - time.monotonic())))
            running = {words[1] for pid in self._in_group("shop") if len(words := _words(pid)) == 2}
            self._must(len(running) <= 1, f"two releases of shop run at once: {running}")
            if time.monotonic() >= end:
                return

    def _in_group(self, app: str) -> list[int]:
        pids: set[int] = set()
        for group in self._groups():
            for folder, _, _ in os.walk(group / app):  # it goes on where a group has just been removed
                with suppress(OSError):
                    pids |= set(map(int, Path(folder, "cgroup.procs").read_text().split()))
        return sorted(pids)

    def _groups(self) -> list[Path]:
        """The group of all apps, in every hierarchy."""
        all_of_them = [Path(f"{m}{self.edge.site.cgroup_parent}/apps") for m in self.runtime.hierarchies.mounts()]
        return [group for group in all_of_them if group.is_dir()]

    # -- what must hold

    def _until_wanted(self) -> None:
        end = time.monotonic() + PATIENCE_S
        while True:
            self._pump(0.1)
            status = self.edge.keeper.ask(ask="status")
            apps = {app["app"]: app for app in status["report"]["apps"]}
            rests = not status["pending_events"] and not self._processes("prepare") + self._processes("starter")
            if self._is_wanted(status["report"], apps) and rests:
                return
            self._must(time.monotonic() < end, f"not there after {PATIENCE_S:.0f} s: {self.wanted}, but {apps}")

    def _is_wanted(self, report: dict[str, Any], apps: dict[str, Any]) -> bool:
        shop = apps.get("shop", {})
        returned = self.wanted.runs != self.wanted.desired
        states = {name: app["state"] for name, app in apps.items()}
        shall = {"still": "ok", "shop": "failed" if returned else "ok"} | ({"guest": "ok"} if self.wanted.guest else {})
        return (
            report.get("running_generation") == self.edge.site.generation
            and states == shall
            and (shop.get("release"), shop.get("desired_release")) == (self.wanted.runs, self.wanted.desired)
            and [s["state"] for s in shop["services"]] == ["running"]
            and sorted(self._identities()) == sorted(shall)
        )

    def _identities(self) -> dict[str, tuple[int | None, int | None]]:
        return {one.app: (one.pid, one.start_ticks) for one in self.runtime.seen()}

    def _check(self) -> None:
        layout, wanted = self.edge.site.layout, self.wanted
        names = sorted(f"{one.app}.{one.service}" for one in self.runtime.seen())
        apps = sorted(name.partition(".")[0] for name in names)
        self._same("monitors", sorted(self._monitors()), names)
        self._same("network namespaces", sorted(os.listdir(layout.netns)), names)
        self._same("root file systems", sorted(self._mounted()), names)
        for group in self._groups():
            self._same(f"groups in {group.parts[4]}", sorted(p.name for p in group.iterdir() if p.is_dir()), apps)
        for folder in layout.revisions.glob("*/*"):
            self._must((folder / "revision.json").is_file(), f"{folder.name} is half sealed")
        for folder in layout.generations.iterdir():
            self._must((folder / "index.json").is_file(), f"generation {folder.name} is half sealed")
        self._same("lost events", self.edge.server.gaps(), [])
        told = [text for text in self.edge.server.stored.values() if text.startswith("generation.accepted")]
        for number in range(1, self.edge.site.generation + 1):
            times = sum(f"generation {number} was accepted" in text for text in told)
            self._same(f"times that generation {number} was told", times, 1)
        with sqlite3.connect(f"file:{layout.keeper_db}?mode=ro", uri=True) as db:
            barred = {row[0] for row in db.execute("SELECT release FROM quarantine WHERE app = 'shop'")}
            good = dict(db.execute("SELECT app, good_release FROM apps").fetchall())
        db.close()
        self._same("quarantined releases", barred, self.bad)
        shall = {"still": "1.0.0", "shop": self.last_good} | ({"guest": "1.0.0"} if wanted.guest else {})
        self._same("last good", good, shall)
        self._same("memory limit of shop", self.runtime.limits("shop", "web").memory_bytes, wanted.memory)

    def _check_untouched(self, update: str, before: dict[str, tuple[int | None, int | None]]) -> None:
        after = self._identities()
        untouched = {"still"} | ({"shop"} if update in ("limits", "guest") else set())
        for app in untouched:
            self._same(f"process of {app}", after[app], before[app])
        self._same("process of still since the beginning", after["still"], self.identities["still"])

    def _monitors(self) -> list[str]:
        run = str(self.edge.site.layout.run)
        found = []
        for pid in _pids():
            words = [word.decode(errors="replace") for word in _words(pid)]
            if words and words[0].endswith("conmon") and any(run in word for word in words):
                found.append(words[words.index("-n") + 1] if "-n" in words else words[words.index("-c") + 1])
        return found

    def _mounted(self) -> list[str]:
        prefix = f"{self.edge.site.layout.containers}/"
        points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        return [p.removeprefix(prefix).split("/")[0] for p in points if p.startswith(prefix) and p.endswith("/rootfs")]

    def _same(self, what: str, got: object, wanted: object) -> None:
        self._must(got == wanted, f"{what}: {got}, wanted {wanted}")

    def _must(self, holds: bool, why: str) -> None:
        if not holds:
            raise InvariantError(why)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _words(pid: int) -> list[bytes]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    return []


def prove(count: int, seed: int) -> int:
    """Rounds, each with its line; 0 when everything held in all of them."""
    began = time.monotonic()
    with edge_host() as edge:
        story = Story(edge, seed)
        number = 0
        try:
            story.begin()
            for number in range(1, count + 1):
                at = time.monotonic()
                said = story.round()
                print(f"ok   {number:3}  {time.monotonic() - at:5.1f} s  {said}", flush=True)
        except (AssertionError, LookupError) as error:
            print(f"FAIL {number:3}  {type(error).__name__}: {error}\n--- events", flush=True)
            with suppress(Exception):
                told = edge.keeper.ask(ask="events", count=40)["events"]
                print("\n".join(f"{e['at']} {e['kind']} {e['text']}" for e in told))
            print(f"--- daemon\n{edge.keeper.log.read_text()[-4000:]}\nFAILED, seed {seed}", flush=True)
            return 1
        spent = time.monotonic() - began
        print(f"{count} rounds, {story.killed} kills, seed {seed}: everything held, in {spent:.0f} s")
    return 0


def main() -> int:
    """Exit 1 when something did not hold."""
    parser = argparse.ArgumentParser(prog="./dev prove kills", description=str(__doc__).splitlines()[0])
    parser.add_argument("--count", type=int, default=60, help="rounds (default %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="to choose the same again")
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("It runs containers in control groups of its own: it needs root.")
    return prove(args.count, int.from_bytes(os.urandom(3), "big") if args.seed is None else args.seed)


if __name__ == "__main__":
    sys.exit(main())
