"""What changes the fleet: the question, then one call in a thread of its own, never repeated by itself."""

from __future__ import annotations

import threading

from fleet_protocol.wire.errors import RoadsteadError
from tui.model import actions
from tui.model.actions import Question, severe_in
from tui.source.api import Source
from tui.term.dialog import Answer, Dialog
from tui.term.shell import Shell


class Acts(Shell):
    """One method for each action that changes something."""

    def do_approve(self) -> None:
        """Let hosts in."""
        rows = [r for r in self.world.enrolments or () if r.status == "pending" and r.request in self._chosen()]
        if rows:
            self.ask(actions.approve(rows))

    def do_reject(self) -> None:
        """Turn hosts away."""
        rows = [r for r in self.world.enrolments or () if r.status == "pending" and r.request in self._chosen()]
        if rows:
            self.ask(actions.reject(rows))

    def do_decommission(self) -> None:
        """End identities."""
        rows = [self.world.roster.rows[n] for n in self._chosen() if n in self.world.roster.rows]
        if rows:
            self.ask(actions.decommission(rows))

    def do_pause(self) -> None:
        """Or go on."""
        if (found := self.world.find_rollout(self.history.here.about)) is not None:
            self.ask(actions.pause(found))

    def do_promote(self) -> None:
        """Open the next wave."""
        if (found := self.world.find_rollout(self.history.here.about)) is not None:
            self.ask(actions.promote(found))

    def do_abort(self) -> None:
        """End it and take devices back."""
        if (found := self.world.find_rollout(self.history.here.about)) is not None:
            self.ask(actions.abort(found, found.fleet or found.app))

    def do_failed(self) -> None:
        """The first that failed."""
        found = self.world.find_rollout(self.history.here.about)
        if found is not None and found.causes:
            self.go("device", found.causes[0].example)

    def do_token(self) -> None:
        """A token pins the trust root that this machine knows: the command makes it."""
        self.say("fleet enroll token --label site=lab      then on the host: edge-daemon enroll TOKEN")

    def do_mark(self) -> None:
        """Or unmark; the cursor goes on."""
        if self.sheet.key:
            marks, _ = self._marks()
            marks ^= {self.sheet.key}
            self.sheet.move(1)
            self.redraw()

    def do_mark_all(self) -> None:
        """All that are listed; when all are marked, none."""
        marks, listed = self._marks()
        if listed <= marks:
            marks -= listed
        else:
            marks |= listed
        self.redraw()

    def _marks(self) -> tuple[set[str], set[str]]:
        """Of this page: what is marked, and what is listed."""
        if self.history.here.page == "devices":
            return self.world.marked, set(self.world.roster.names)
        return self.world.picked, {r.request for r in self.world.enrolments or () if r.status == "pending"}

    def _chosen(self) -> list[str]:
        """The marked ones of this page, else the one under the cursor."""
        place = self.history.here
        if place.page == "device":
            return [place.about]
        return sorted(self._marks()[0]) or [self.sheet.key]

    def ask(self, question: Question) -> None:
        """Before anything is done."""
        asked = severe_in(self.world.environment, question, self.world.context)

        def answered(answer: Answer | None) -> None:
            if answer is None:
                self.say("nothing was changed")
                return
            self.say(f"{asked.yes} ...")
            threading.Thread(target=self._carry_out, args=(asked, answer), name="act", daemon=True).start()

        self.push_screen(Dialog(self._look, asked, self.world.context), answered)

    def _carry_out(self, question: Question, answer: Answer) -> None:
        """In a thread: one target after the other; stops at the first that is refused."""
        done: list[str] = []
        source: Source | None = None
        try:
            source = self.server.connect()
            for target in question.act.targets:
                done += [source.do(question.act, target, answer.reason)]
            text = done[0] if len(done) == 1 else f"{done[0]} and {len(done) - 1} more"
        except RoadsteadError as error:
            before = f"{len(done)} of {len(question.act.targets)} done; " if done else ""
            text = f"{before}{error.reason}" + (f"; {error.hint}" if error.hint else "")
        finally:
            if source is not None:
                source.close()
        self.from_thread(lambda: self._carried_out(text))

    def _carried_out(self, text: str) -> None:
        self.world.marked.clear()
        self.world.picked.clear()
        self.say(text)
        self._feed.poke()
