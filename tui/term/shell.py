"""The screen: bars, prompt and sheets, painted from the world; a thread reads the server."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.geometry import Size

from tui.model.history import History, Place
from tui.model.line import EMPTY, Piece, line
from tui.model.link import Link
from tui.model.text import safe
from tui.model.world import Batch, Remembered, World
from tui.pages import device, devices, lists
from tui.pages.body import Body, View
from tui.source.api import Source, Wants
from tui.source.feed import Feed
from tui.source.inbox import Inbox
from tui.term import frame
from tui.term.places import SPECS, TITLES, crumb, narrowed
from tui.term.prompt import Prompt
from tui.term.sheet import Bar, Look, Sheet
from tui.term.skins import SKINS, theme

PANE_FROM = 120
TWO_PANES_FROM = 180
SAY_S = 6.0


class Server(NamedTuple):
    """A context that can be connected to."""

    name: str
    environment: str
    address: str
    connect: Callable[[], Source]


class Machine(Protocol):
    """What lies outside: contexts, the clock, and what is remembered between sessions."""

    def contexts(self) -> list[dict[str, Any]]:
        """All, as rows."""
        ...

    def server(self, name: str) -> Server:
        """One of them. Raises RoadsteadError."""
        ...

    def remembered(self, context: str) -> Remembered:
        """What the last session saw."""
        ...

    def remember(self, context: str, what: Remembered) -> None:
        """For the next session."""
        ...

    def now(self) -> float:
        """Unix seconds."""
        ...


class Shell(App[None]):
    """Paints the page that the history stands at, of the world that the feed fills."""

    TITLE = "fleet"
    ENABLE_COMMAND_PALETTE = True
    AUTO_FOCUS = None
    CSS = """
    Screen { background: $background; color: $foreground; layers: base; }
    #main { height: 1fr; }
    #pane { width: 44; border-left: vkey $panel; display: none; }
    #second { width: 56; border-left: vkey $panel; display: none; }
    #banner { height: 2; display: none; }
    #status { display: none; }
    """

    def __init__(self, machine: Machine, server: Server, look: Look, *, fps: float = 2.0) -> None:
        super().__init__()
        self._machine, self._look, self._period = machine, look, 1.0 / fps
        self._fixed_skin = self.no_color
        self._inbox = Inbox(self._wake)
        self._link = Link()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._vars = contextvars.copy_context()
        self._drained_at, self._draining = float("-inf"), False
        self._said, self._said_until = "", 0.0
        self.history = History(Place("overview"))
        self._views: dict[str, View] = {}
        self._cursors: dict[Place, tuple[str, int]] = {}
        self._use(server)

    def _use(self, server: Server) -> None:
        self.server = server
        self.world = World(server.name, server.environment, server.address, self._machine.now())
        self.world.remembered = self._machine.remembered(server.name)
        self._link = self.world.link
        self._inbox = inbox = Inbox(self._wake)

        def heard(link: Link, batch: Batch | None) -> None:
            # What an abandoned server still says goes into an inbox that nobody reads.
            if self._inbox is inbox:
                self._link = link
            inbox.put(batch or Batch())

        self._feed = Feed(server.connect, heard, self._machine.now)

    # --- Textual's side

    def compose(self) -> ComposeResult:
        """Bars, the prompt, and the sheets between them."""
        yield Bar(self._look, "top")
        yield Prompt(self._look, self._names)
        yield Bar(self._look, "status")
        yield Bar(self._look, "rule")
        yield Bar(self._look, "banner")
        with Horizontal(id="main"):
            yield Sheet(self._look, id="list")
            yield Sheet(self._look, cursor=False, id="pane")
            yield Sheet(self._look, cursor=False, id="second")
        yield Bar(self._look, "line")
        yield Bar(self._look, "foot")

    def on_mount(self) -> None:
        """Paint at once, then read."""
        for skin in SKINS.values():
            self.register_theme(theme(skin))
        self.theme = self._look.skin.theme_name()
        self._loop, self._vars = asyncio.get_running_loop(), contextvars.copy_context()
        self.sheet = self.query_one("#list", Sheet)
        self.redraw()
        self._feed.start()
        self.set_interval(1.0, self._tick)

    def on_unmount(self) -> None:
        """Nothing goes on after us."""
        self._leave()

    def _leave(self) -> None:
        self._feed.stop()
        if self.world.loaded:
            self._machine.remember(self.world.context, Remembered(int(self.world.now), dict(self.world.counts)))

    def on_resize(self) -> None:
        """Other columns fit."""
        self.call_after_refresh(self.redraw)

    # --- data

    def from_thread(self, what: Callable[[], object]) -> None:
        """Have it done by the screen's thread, as soon as it can; does not wait for it."""
        if self._loop is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):  # closed in this very moment
                self._loop.call_soon_threadsafe(what, context=self._vars)

    def _wake(self) -> None:
        """From the reading thread."""
        self.from_thread(self._soon)

    def _soon(self) -> None:
        if not self._draining:
            self._draining = True
            pause = self._drained_at + self._period - time.monotonic()
            self.set_timer(max(0.001, pause), self._drain)

    def _drain(self) -> None:
        self._draining, self._drained_at = False, time.monotonic()
        batch = self._inbox.take()
        self.world.link = self._link
        if batch is not None:
            self.world.take(batch)
        self.redraw()

    def _tick(self) -> None:
        self.redraw()

    # --- painting

    @property
    def view(self) -> View:
        """How the page on the screen is looked at."""
        place = self.history.here
        view = self._views.setdefault(place.page, View())
        if view.about != place.about:
            view.about = place.about
        return view

    def redraw(self) -> None:
        """Everything is made anew, and only lines that differ are painted."""
        if not self.is_running or not self.screen_stack or not hasattr(self, "sheet"):
            return
        self.world.now = self._machine.now()
        if small := frame.too_small(*self._cells()):
            self._lay_out(small=True)
            self.query_one("#top", Bar).show(line(Piece(f" {small}", "strong")))
            return
        width, _ = self._cells()
        place, view = self.history.here, self.view
        self._lay_out(small=False)
        status = SPECS[place.page].status(self.world, view, width) if place.page in SPECS else EMPTY
        self._bar("top").show(frame.top(self.world, TITLES[place.page], crumb(place, self.world), width))
        self._bar("status").show(status)
        self._bar("status").display = bool(status) and not self._prompt.display
        for name in ("rule", "line"):
            self._bar(name).show(line(Piece("─" * width, "rule")))
        lost = frame.banner(self.world, width)
        self._bar("banner").display = bool(lost)
        self._bar("banner").show(*lost, over="banner")
        self.sheet.stale = bool(lost) and not lost_is_new(self.world.link)
        self.sheet.show(self._body(place, view))
        self._panes(place)
        self._foot()

    def _body(self, place: Place, view: View) -> Body:
        width, height = self.sheet.size
        if place.page == "contexts":
            return lists.contexts(self._machine.contexts(), self.world.context, width)
        if place.page == "help":
            return lists.keys(place.about or "overview", width)
        return SPECS[place.page].body(self.world, view, width, height)

    def _panes(self, place: Place) -> None:
        pane, second = self.query_one("#pane", Sheet), self.query_one("#second", Sheet)
        if pane.display:
            pane.stale = second.stale = self.sheet.stale
            pane.show(device.preview(self.world, self.sheet.key, pane.size.width, events=not second.display))
        if second.display:
            second.show(device.newest(self.world, self.sheet.key, second.size.width))
        shown = place.about if place.page in ("device", "raw") else self.sheet.key if pane.display else ""
        about = place.about if place.page == "events" else ""
        self._feed.want(Wants(place.page, about, shown))

    def _foot(self) -> None:
        width, _ = self._cells()
        if self._said and self._machine.now() > self._said_until:
            self._said = ""
        text, hits = frame.foot(self.history.here.page, self.world, self.sheet.shown(), self._said, width)
        self._bar("foot").show(text, actions=[(h.start, h.end, h.action) for h in hits])

    def _lay_out(self, *, small: bool) -> None:
        width, _ = self._cells()
        listed = self.history.here.page == "devices" and not self.view.wide and bool(self.world.roster.names)
        self.query_one("#pane").display = listed and width >= PANE_FROM and not small
        self.query_one("#second").display = listed and width >= TWO_PANES_FROM and not small
        for name in ("main", "rule", "line", "foot"):
            self.query_one(f"#{name}").display = not small

    def _cells(self) -> Size:
        return self.screen_stack[0].size

    def _bar(self, name: str) -> Bar:
        return self.screen_stack[0].query_one(f"#{name}", Bar)

    @property
    def _prompt(self) -> Prompt:
        return self.screen_stack[0].query_one(Prompt)

    def say(self, text: str) -> None:
        """One sentence in the last line, for six seconds."""
        self._said, self._said_until = safe(text), self._machine.now() + SAY_S
        self._foot()

    # --- going somewhere

    def go(self, page: str, about: str = "") -> None:
        """To a place; the cursor is where it was left there."""
        self._keep_cursor()
        self.history.go(Place(page, about))
        self._arrived()

    def _keep_cursor(self) -> None:
        self._cursors[self.history.here] = (self.sheet.key, self.sheet.top)

    def _arrived(self) -> None:
        self._prompt.shut()
        self._said = ""
        self._arrange()
        key, top = self._cursors.get(self.history.here, ("", 0))
        self.sheet.at = self.sheet.top = 0
        self.sheet.show(self._body(self.history.here, self.view), key=key, top=top)
        self.redraw()

    def _arrange(self) -> None:
        """Filter and order of the list of devices follow its view."""
        if self.history.here.page == "devices":
            view = self.view
            of_cause, view.cause = narrowed(view.about)
            self.world.roster.arrange(keep=devices.keeps(view, of_cause))

    def _names(self) -> dict[str, Sequence[str]]:
        return {
            "ctx": [str(row["name"]) for row in self._machine.contexts()],
            "theme": list(SKINS),
            "device": self.world.roster.names,
            "rollout": [r.ident for r in self.world.rollouts or ()],
        }


def lost_is_new(link: Link) -> bool:
    """Nothing was ever shown that could be greyed."""
    return link.heard == 0
