"""`fleet ui`: what each key does. The keys themselves stand in a table (`tui.model.keys`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from textual import events
from textual.app import SystemCommand
from textual.screen import Screen
from textual.widgets import Input

from fleet_protocol.wire.errors import RoadsteadError
from tui.model.commands import parse
from tui.model.history import History, Place
from tui.model.keys import KEYS, action_of
from tui.model.roster import SORTS
from tui.pages.body import View
from tui.term.acts import Acts
from tui.term.places import leads_to
from tui.term.sheet import Bar, Sheet
from tui.term.skins import SKINS

Move = Callable[[Sheet], None]
MOVES: dict[str, Move] = {}
for _names, _move in (
    (("down", "j"), lambda s: s.move(1)),
    (("up", "k"), lambda s: s.move(-1)),
    (("pagedown", "ctrl+f"), lambda s: s.move(s.room)),
    (("pageup", "ctrl+b"), lambda s: s.move(-s.room)),
    (("ctrl+d",), lambda s: s.move(s.room // 2)),
    (("ctrl+u",), lambda s: s.move(-s.room // 2)),
    (("home", "g"), lambda s: s.move_to(-1)),
    (("end", "G"), lambda s: s.move_to(1)),
):
    MOVES.update(dict.fromkeys(_names, _move))


class FleetApp(Acts):
    """The terminal UI."""

    BINDINGS: ClassVar[list[Any]] = [("ctrl+c", "quit", "Quit")]
    _narrowing = False

    # --- keys

    def on_key(self, event: events.Key) -> None:
        """What the table says; moving is the sheet's own."""
        if len(self.screen_stack) > 1:
            return
        if self._prompt.display:
            if event.is_printable and event.character:
                self._prompt.ahead(event.character)
            return
        page = self.history.here.page
        if (action := action_of(page, event.key)) is not None:
            event.stop()
            event.prevent_default()
            self.perform(action)
        elif event.key in MOVES:
            event.stop()
            MOVES[event.key](self.sheet)
            self._panes(self.history.here)
            self._foot()

    def perform(self, action: str) -> None:
        """By key, click or palette."""
        name, _, argument = action.partition(" ")
        changes = any(k.changes and k.action == action for k in KEYS)
        if changes and not self.world.link.writable():
            self.say("read-only until the server is back")
            return
        method = getattr(self, f"do_{name}")
        method(argument) if argument else method()

    def on_sheet_chosen(self) -> None:
        """A click on the cursor's line."""
        self.perform("open")

    def on_sheet_moved(self) -> None:
        """The pane follows."""
        self._panes(self.history.here)
        self._foot()

    def on_bar_pressed(self, event: Bar.Pressed) -> None:
        """A click on a key in the footer."""
        self.perform(event.action)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:  # noqa: ARG002
        """The palette: every key of this page, every skin and every context."""
        page = self.history.here.page
        for key in KEYS:
            if action_of(page, key.key) == key.action and key.action != "palette":
                yield SystemCommand(f"{key.word} ({key.shown})", key.says, lambda a=key.action: self.perform(a))
        for name in SKINS:
            yield SystemCommand(f"theme {name}", "Colours", lambda n=name: self.do_theme(n))
        for row in self._machine.contexts():
            yield SystemCommand(f"ctx {row['name']}", str(row["server"]), lambda n=row["name"]: self.do_ctx(str(n)))

    # --- what keys do

    def do_page(self, page: str) -> None:
        """Go to one of the main pages."""
        self.go(page, self.history.here.page if page == "help" else "")

    def do_open(self) -> None:
        """Enter."""
        page, key = self.history.here.page, self.sheet.key
        if not key:
            return
        if page == "contexts":
            self.do_ctx(key)
        elif page == "enrolments":
            self.perform("approve")
        elif (place := leads_to(page, key)) is not None:
            if key == "faults":
                self._views.setdefault("devices", View()).faults = True
            self.go(*place)

    def do_up(self) -> None:
        """Clears the filter first."""
        view = self.view
        if view.filter or view.faults:
            view.filter, view.faults = "", False
            self._arrange()
            self.redraw()
            return
        self._keep_cursor()
        if self.history.up():
            self._arrived()

    def do_back(self) -> None:
        """The page before."""
        self._keep_cursor()
        if self.history.back():
            self._arrived()

    def do_older(self) -> None:
        """Back in history."""
        self._keep_cursor()
        if self.history.older():
            self._arrived()

    def do_newer(self) -> None:
        """Forward."""
        self._keep_cursor()
        if self.history.newer():
            self._arrived()

    def do_command(self) -> None:
        """`:`."""
        self._prompt.ask(":", "")
        self.redraw()

    def do_filter(self) -> None:
        """`/`."""
        self._prompt.ask("/", self.view.filter)
        self.redraw()

    def do_faults(self) -> None:
        """Only what is not well, or all again."""
        self.view.faults = not self.view.faults
        self._arrange()
        self.redraw()

    def do_wide(self) -> None:
        """Columns or pane."""
        self.view.wide = not self.view.wide
        self.redraw()

    def do_sort(self) -> None:
        """The next order."""
        names = list(SORTS)
        roster = self.world.roster
        roster.sort = names[(names.index(roster.sort) + 1) % len(names)]
        self._arrange()
        self.redraw()

    def do_raw(self) -> None:
        """The device as data."""
        if name := self._device_here():
            self.go("raw", name)

    def do_device_events(self) -> None:
        """Of one device."""
        if name := self._device_here():
            self.world.events = None
            self.go("events", name)

    def do_copy(self) -> None:
        """To the terminal's clipboard."""
        text = self.sheet.key or self.history.here.about
        if text:
            self.copy_to_clipboard(text)
            self.say(f"copied {text}")

    def do_refresh(self) -> None:
        """Read now."""
        self._feed.poke()
        self.say("reading ...")

    def do_palette(self) -> None:
        """Textual's own."""
        self.action_command_palette()

    def do_quit(self) -> None:
        """Leave."""
        self.exit()

    def do_theme(self, name: str = "") -> None:
        """Other colours; NO_COLOR is not overruled."""
        if name not in SKINS or self._fixed_skin:
            known = ", ".join(SKINS)
            self.say("NO_COLOR is set" if self._fixed_skin else f"no theme {name}; there are {known}")
            return
        self._look.skin = SKINS[name]
        self.theme = self._look.skin.theme_name()
        for bar in self.query(Bar):
            bar.refresh()
        for sheet in self.query(Sheet):
            sheet.paint(everything=True)

    def do_ctx(self, name: str = "") -> None:
        """Another server."""
        if not name:
            self.go("contexts")
            return
        try:
            server = self._machine.server(name)
        except RoadsteadError as error:
            self.say(error.sentence())
            return
        self._leave()
        self._cursors.clear()
        self._use(server)
        self.history = History(Place("overview"))
        self._arrived()
        self._feed.start()

    def _device_here(self) -> str:
        place = self.history.here
        return self.sheet.key if place.page == "devices" else place.about

    # --- the prompt

    def on_input_changed(self, event: Input.Changed) -> None:
        """A filter works while it is typed."""
        if len(self.screen_stack) == 1 and self._prompt.display and self._prompt.kind == "/":
            self.view.filter = event.value
            if not self._narrowing:  # letters that come in one burst are one filter
                self._narrowing = True
                self.call_later(self._narrow)

    def _narrow(self) -> None:
        self._narrowing = False
        self._arrange()
        self.redraw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in the prompt."""
        if len(self.screen_stack) > 1:
            return
        kind = self._prompt.kind
        self._prompt.shut()
        if kind == ":":
            self._command(event.value)
        self.redraw()

    def on_prompt_left(self) -> None:
        """Esc in the prompt: the filter is cleared."""
        if self._prompt.kind == "/":
            self.view.filter = ""
            self._arrange()
        self._prompt.shut()
        self.redraw()

    def _command(self, text: str) -> None:
        command = parse(text)
        if command.error:
            self.say(command.error)
        elif command.word in ("ctx", "theme"):
            getattr(self, f"do_{command.word}")(command.argument)
        elif command.word in ("device", "rollout") and command.argument:
            self.go(command.word, command.argument)
        elif command.word == "quit":
            self.exit()
        elif command.word:
            page = {"keys": "help", "device": "devices", "rollout": "rollouts"}.get(command.word, command.word)
            if command.argument and page in ("devices", "events"):
                self._views.setdefault(page, View()).filter = command.argument
            self.do_page(page)
