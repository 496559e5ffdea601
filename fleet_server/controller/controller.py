"""Rollouts on the real server: facts of the store in, the pure engine asked, its decisions carried out.

One lock, one transaction for all that follows from one look. What is in memory is only a copy: after any error it is
thrown away and made anew from the store, and a server that was killed at any point goes on as if nothing had been.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from fleet_protocol.documents.fleet import FleetSpec
from fleet_server.controller.carry import Carrier
from fleet_server.controller.known import Known, read
from fleet_server.controller.live import Live, open_live
from fleet_server.director import Director
from fleet_server.plan_world import AppId, ReleaseFacts
from fleet_server.rollout.decisions import Decisions, DeviceMoved, Quarantine, StateChanged
from fleet_server.rollout.facts import DeviceFacts, Verb
from fleet_server.rollout.ownership import FREE, Claim, owners
from fleet_server.rollout.state import Phase, State
from fleet_server.selection import selects
from fleet_server.store.api import Store

ROUNDS = 20
TIDY_S = 60

log = logging.getLogger("roadstead.rollouts")


class Turn:
    """What one look begins with. By rollout: `news`: devices; `gone`: devices that it loses; `asked`: by people."""

    def __init__(self) -> None:
        self.news: dict[str, set[str]] = {}
        self.gone: dict[str, set[str]] = {}
        self.asked: dict[str, list[Verb]] = {}
        self.made: list[tuple[Live, Decisions]] = []
        self.generations: dict[str, int] = {}

    def look(self, rollout_id: str, device_ids: Iterable[str]) -> None:
        """These devices of a rollout have news."""
        self.news.setdefault(rollout_id, set()).update(device_ids)


class Controller:
    """All rollouts that are not over. Any thread may call; one at a time works."""

    def __init__(self, store: Store, director: Director, releases: Callable[[], Mapping[AppId, ReleaseFacts]]) -> None:
        self.store = store
        self.director = director
        self.releases = releases
        self.carrier = Carrier(store, director, self.release)
        self._lives: dict[str, Live] | None = None
        self._of_device: dict[tuple[str, str], list[str]] = {}
        self._heard_lock = threading.Lock()
        self._heard: set[str] = set()
        self._tidied = 0
        self._unseen: set[str] = set()  # rollouts in memory whose devices were not looked at yet
        self.wake: Callable[[], None] = lambda: None

    # --- from outside

    def heard(self, device_ids: Iterable[str]) -> None:
        """Something about these devices was stored. Returns at once."""
        with self._heard_lock:
            self._heard.update(device_ids)
        self.wake()

    def tick(self, now: int) -> int | None:
        """Everything that is due. When to look again, if nothing is heard before."""
        with self._heard_lock:
            heard, self._heard = self._heard, set()
        try:
            with self.turning(now) as turn:
                for rollout_id, names in self._concerned(heard).items():
                    turn.look(rollout_id, names)
        except BaseException:
            self.heard(heard)
            raise
        with self.director.lock:
            return min((at for live in self.lives().values() if (at := live.look_again) is not None), default=None)

    # --- one look

    @contextmanager
    def turning(self, now: int) -> Iterator[Turn]:
        """What the block asks for is decided and carried out when it ends, in one transaction with what it writes."""
        turn = Turn()
        with self.director.lock:
            try:
                with self.store.transaction():
                    self.lives()
                    yield turn
                    for name in self._unseen & self.lives().keys():
                        turn.look(name, self.lives()[name].names)
                    self._unseen.clear()
                    self._decide(turn, now)
            except BaseException:
                self._lives = None  # it may have gone further than the store
                raise
        if turn.generations:
            self.director.changed(sorted(turn.generations))

    def _decide(self, turn: Turn, now: int) -> None:
        lives, fleets = self.lives(), self.store.fleets()
        quarantined = self._quarantined()
        for _ in range(ROUNDS):
            known = self._known(turn, fleets)
            made = []
            for live in list(lives.values()):
                decisions = self._ask(live, turn, known, fleets, quarantined, now)
                if decisions is not None:
                    made.append((live, decisions))
            self._need(made, known, fleets)
            turn.generations |= self.carrier.carry_out(made, known, fleets, now)
            turn.made += made
            self._neighbours(made, turn)
            if any(isinstance(d, Quarantine) for _, decisions in made for d in decisions.made):
                quarantined = self._quarantined()
            elif not turn.news.keys() & lives.keys():
                break
        if now - self._tidied >= TIDY_S:
            self._tidy(now)

    def _ask(
        self,
        live: Live,
        turn: Turn,
        known: Mapping[str, Known],
        fleets: Sequence[FleetSpec],
        quarantined: Mapping[AppId, str],
        now: int,
    ) -> Decisions | None:
        """What the engine of one rollout makes of what is new for it; None: nothing is."""
        name, release = live.rollout_id, self.release(live)
        news, gone = turn.news.pop(name, set()), turn.gone.pop(name, set())
        asked = turn.asked.pop(name, [])
        banned = live.banned(release, quarantined)
        due = live.look_again is not None and live.look_again <= now
        if not (news or gone or asked or due or banned != live.engine.banned):
            return None
        gone |= {d for d in news if d not in known}  # revoked meanwhile
        gone |= {d for d in news - gone if _left(live, known[d], fleets)}
        facts = [self._facts(live, known[d], release) for d in sorted(news - gone)]
        decisions = live.engine.decide(now, facts, gone=gone, asked=asked, banned=banned)
        live.look_again = decisions.look_again
        for device_id in gone:
            self._drop(live, device_id)
        return decisions

    def _facts(self, live: Live, known: Known, release: ReleaseFacts | None) -> DeviceFacts:
        names = self._of_device.get((known.device_id, live.change.app), ())
        answer = (
            owners(self._claims(names, known.device_id, live)).get(live.rollout_id, FREE) if len(names) > 1 else FREE
        )
        return live.facts(known, release, answer)

    def _claims(self, names: Iterable[str], device_id: str, asking: Live) -> list[Claim]:
        """Of all rollouts that are not over on one app of a device. The one that asks may be about to begin."""
        lives, out = self.lives(), []
        for name in names:
            live = lives[name]
            record = live.engine.members.records.get(device_id)
            state = State.RUNNING if live is asking and live.state is State.PLANNED else live.state
            if state is not State.ABORTED:
                # Two may have been started within one second: the order in which they were made is sure.
                standing = replace(live.engine.rollout, state=state, started_at=live.row.seq)
                out.append(Claim(standing, record.phase if record else Phase.QUEUED))
        return out

    def _neighbours(self, made: Sequence[tuple[Live, Decisions]], turn: Turn) -> None:
        """Other rollouts of the same app of a device look again when one of them has moved it."""
        for live, decisions in made:
            app = live.change.app
            if any(isinstance(d, StateChanged) for d in decisions.made):
                moved: Iterable[str] = live.names
            else:
                moved = (d.device_id for d in decisions.made if isinstance(d, DeviceMoved))
            for device_id in moved:
                for other in self._of_device.get((device_id, app), ()):
                    if other != live.rollout_id:
                        turn.look(other, [device_id])

    # --- memory

    def seen(self, now: int) -> None:
        """After it: what is in memory was looked at, so that it can be shown to people."""
        with self.director.lock:
            self.lives()
            if self._unseen:
                self.tick(now)

    def lives(self) -> dict[str, Live]:
        """By name, read from the store if need be. With the director's lock held."""
        if self._lives is None:
            self._lives, self._of_device = {}, {}
            for row in self.store.rollouts(open_only=True):
                self.add(open_live(row, self.store.members(row.rollout_id)))
        return self._lives

    def add(self, live: Live) -> None:
        """Keep a rollout in memory; all its devices are looked at in the next turn."""
        assert self._lives is not None
        self._lives[live.rollout_id] = live
        for device_id in live.names:
            self._of_device.setdefault((device_id, live.change.app), []).append(live.rollout_id)
        live.look_again = 0
        self._unseen.add(live.rollout_id)

    def keep(self, live: Live) -> None:
        """The same for one that may have been over, and is asked for something."""
        if live.rollout_id not in self.lives():
            self.add(live)

    def shown(self, live: Live) -> Live:
        """A rollout that is over, with the facts of its devices, for somebody who looks at it."""
        known = self.read_known(set(live.names), self.store.fleets())
        release = self.release(live)
        members = live.engine.members
        for device_id in list(members.records):
            if device_id in known:
                members.facts[device_id] = live.facts(known[device_id], release)
            members.count(device_id, live.engine.rollout.ended_at)
        return live

    def enlist(self, live: Live, device_ids: Iterable[str]) -> None:
        """More devices for a rollout."""
        for device_id in device_ids:
            if device_id not in live.names:
                live.names.add(device_id)
                self._of_device.setdefault((device_id, live.change.app), []).append(live.rollout_id)

    def _drop(self, live: Live, device_id: str) -> None:
        key = (device_id, live.change.app)
        if live.rollout_id in (names := self._of_device.get(key, [])):
            names.remove(live.rollout_id)

    def _tidy(self, now: int) -> None:
        """Let go of rollouts in which nothing can happen by itself any more."""
        self._tidied = now
        lives = self.lives()
        newest = {(live.change.fleet, live.change.app): live.row.seq for live in lives.values()}
        for live in list(lives.values()):
            newer = newest[live.change.fleet, live.change.app] > live.row.seq
            if live.is_over(now, newer=newer):
                self.store.put_rollout(live.present(closed=True))
                for device_id in live.names:
                    self._drop(live, device_id)
                del lives[live.rollout_id]

    def _concerned(self, heard: Iterable[str]) -> dict[str, set[str]]:
        out: dict[str, set[str]] = {}
        apps = {live.change.app for live in self.lives().values()}
        for device_id in heard:
            for app in apps:
                for name in self._of_device.get((device_id, app), ()):
                    out.setdefault(name, set()).add(device_id)
        return out

    # --- the store

    def _known(self, turn: Turn, fleets: Sequence[FleetSpec]) -> dict[str, Known]:
        names = set().union(*turn.news.values()) if turn.news else set()
        return self.read_known(names, fleets)

    def read_known(self, names: set[str], fleets: Sequence[FleetSpec]) -> dict[str, Known]:
        """What the store knows of these devices now."""
        if not names:
            return {}
        rows = self.store.watched(sorted(names) if len(names) < 5000 else None)
        return {row.device_id: read(row, fleets) for row in rows}

    def _need(
        self, made: Sequence[tuple[Live, Decisions]], known: dict[str, Known], fleets: Sequence[FleetSpec]
    ) -> None:
        """Time or people may have moved devices without news: read those, too."""
        moved = {d.device_id for _, decisions in made for d in decisions.made if isinstance(d, DeviceMoved)}
        if missing := moved - known.keys():
            known |= self.read_known(missing, fleets)

    def _quarantined(self) -> dict[AppId, str]:
        return {(row.app, row.release): row.reason for row in self.store.quarantines()}

    def release(self, live: Live) -> ReleaseFacts | None:
        """What it brings, as its role lists it now."""
        return self.releases().get((live.change.app, live.change.version))


def _left(live: Live, known: Known, fleets: Sequence[FleetSpec]) -> bool:
    """Its labels have changed and the fleet does not select it any more, before it was given anything."""
    record = live.engine.members.records.get(known.device_id)
    if record is None or record.phase is not Phase.QUEUED:
        return False
    fleet = next((f for f in fleets if f.name == live.change.fleet), None)
    return fleet is not None and not selects(fleet, known.labels)
