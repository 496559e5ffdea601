"""The one widget that shows data: lines of pieces, a cursor, and only what changed is painted again.

Textual's own table takes ten times the bytes on the wire and a hundred times the time for 50,000 rows; and it reads
markup in cells. Here a line is asked for when it is on the screen, and its text goes to the terminal as it is.
"""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tui.model.line import EMPTY, Line, Piece, crop, length
from tui.model.states import ASCII
from tui.pages.body import Body, Page
from tui.term.skins import SKINS, Skin

WHEEL = 3


class Look:
    """How lines are painted: the skin, and whether ASCII must do."""

    def __init__(self, skin: Skin = SKINS["dark"], *, ascii_only: bool = False) -> None:
        self.skin, self.ascii_only = skin, ascii_only

    def strip(self, pieces: Line, width: int, *, over: Style | None = None, stale: bool = False) -> Strip:
        """A line exactly `width` wide; `over` is laid over all of it."""
        line = crop(pieces, width)
        line = (*line, Piece(" " * (width - length(line))))
        segments = []
        for text, name in line:
            if not text:
                continue
            style = self.skin.style("stale" if stale else name)
            segments.append(
                Segment(text.translate(ASCII) if self.ascii_only else text, style + over if over else style)
            )
        return Strip(segments, width)


class Sheet(Widget):
    """Pinned lines above, a list below; the cursor stays on what it is on when the list moves."""

    DEFAULT_CSS = "Sheet { height: 1fr; width: 1fr; }"

    class Chosen(Message):
        """A click on the line that the cursor is on."""

    class Moved(Message):
        """The cursor stands on something else."""

    def __init__(self, look: Look, *, cursor: bool = True, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._look, self._with_cursor = look, cursor
        self._body: Body = Page([])
        self._lines: list[tuple[Line, bool]] = []
        self.top = 0
        self.at = 0
        self.key = ""
        self.stale = False

    # --- what is shown

    def show(self, body: Body, *, key: str | None = None, top: int | None = None) -> None:
        """Another body, or the same one with other data; `key` puts the cursor."""
        self._body = body
        if key is not None:
            self.key = key
        if top is not None:
            self.top = top
        place = body.index(self.key) if self.key else None
        if place is not None:
            # The list may have moved under the cursor: it stays where it is on the screen.
            self.top += place - self.at if key is None and top is None else 0
            self.at = place
        else:
            self.at = max(0, min(self.at, body.count() - 1))
            self._settle(1)
        self._scroll()
        self.paint()

    def paint(self, *, everything: bool = False) -> None:
        """Make the visible lines anew, and hand those that differ to the terminal."""
        width, height = self.size
        head = self._body.head
        fresh: list[tuple[Line, bool]] = [(text, False) for text in head[:height]]
        for index in range(self.top, min(self._body.count(), self.top + height - len(head))):
            here = self._with_cursor and index == self.at and self._body.key(index) != ""
            fresh.append((self._body.line(index), here))
        fresh += [(EMPTY, False)] * (height - len(fresh))
        if everything or len(fresh) != len(self._lines):
            self._lines = fresh
            self.refresh()
            return
        changed = [
            Region(0, y, width, 1) for y, (old, new) in enumerate(zip(self._lines, fresh, strict=True)) if old != new
        ]
        self._lines = fresh
        if changed:
            self.refresh(*changed)

    def render_line(self, y: int) -> Strip:
        """From the lines made beforehand."""
        pieces, here = self._lines[y] if y < len(self._lines) else (EMPTY, False)
        if here:
            pieces = (Piece(">" if self._look.ascii_only else "▸", "mark"), *_without_first_cell(pieces))
        return self._look.strip(
            pieces, self.size.width, over=self._look.skin.over("cursor") if here else None, stale=self.stale
        )

    def shown(self) -> str:
        """`rows 1-14 of 138`, or nothing when all is on the screen."""
        room = self.room
        total = self._body.count()
        if total <= room:
            return ""
        return f"{self.top + 1:,}-{min(total, self.top + room):,} of {total:,}"

    @property
    def room(self) -> int:
        """Lines of the list that fit."""
        return max(1, self.size.height - len(self._body.head))

    # --- moving

    def move(self, by: int) -> None:
        """Down or up to the next line that can be chosen; a page without one scrolls."""
        if self._first_key() is not None:
            before = self.at
            self.at = max(0, min(self._body.count() - 1, self.at + by))
            if not self._settle(1 if by > 0 else -1):
                self.at = before
            if self.at == before and by < 0:
                self.top = 0 if self._first_key() == self.at else self.top
        else:
            self.top += by
            self.at = self.top
        self._scroll(free=self.key == "")
        self.paint()
        self.post_message(self.Moved())

    def move_to(self, end: int) -> None:
        """To the first line (-1) or the last (1)."""
        self.move(end * self._body.count())

    def _settle(self, step: int) -> bool:
        """From `at` onwards to a line that can be chosen, else backwards; whether there is one."""
        count = self._body.count()
        for direction in (step, -step):
            place = self.at
            while 0 <= place < count:
                if key := self._body.key(place):
                    self.at, self.key = place, key
                    return True
                place += direction
        self.key = ""
        return False

    def _first_key(self) -> int | None:
        count = self._body.count()
        return next((n for n in range(min(count, 200)) if self._body.key(n)), None)

    def _scroll(self, *, free: bool = False) -> None:
        room, count = self.room, self._body.count()
        if not free and self.key:
            if self.at < self.top:
                self.top = self.at
            elif self.at >= self.top + room:
                self.top = self.at - room + 1
        self.top = max(0, min(self.top, count - room))

    # --- what the terminal says

    def on_resize(self) -> None:
        """Other lines are visible."""
        self._scroll()
        self.paint(everything=True)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Three lines."""
        event.stop()
        self.move(WHEEL)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Three lines."""
        event.stop()
        self.move(-WHEEL)

    def on_click(self, event: events.Click) -> None:
        """Puts the cursor; on the cursor's own line, opens it."""
        index = self.top + event.y - len(self._body.head)
        if event.y < len(self._body.head) or not 0 <= index < self._body.count() or not self._body.key(index):
            return
        if index == self.at:
            self.post_message(self.Chosen())
            return
        self.at, self.key = index, self._body.key(index)
        self.paint()
        self.post_message(self.Moved())


def _without_first_cell(pieces: Line) -> Line:
    if not pieces:
        return pieces
    first = pieces[0]
    rest = first.text[1:]
    return (
        ((Piece(rest, first.style), *pieces[1:]) if rest else pieces[1:])
        if first.text
        else _without_first_cell(pieces[1:])
    )


class Bar(Widget):
    """One or more fixed lines: the top, the footer, a rule, a banner."""

    DEFAULT_CSS = "Bar { height: 1; width: 1fr; }"

    class Pressed(Message):
        """A click on a piece that stands for an action."""

        def __init__(self, action: str) -> None:
            super().__init__()
            self.action = action

    def __init__(self, look: Look, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._look = look
        self._lines: list[Line] = []
        self._actions: list[tuple[int, int, str]] = []
        self._over = ""

    def show(self, *lines: Line, over: str = "", actions: list[tuple[int, int, str]] | None = None) -> None:
        """`over`: a style laid over all of it; `actions`: (from cell, to cell, action) of the first line."""
        self._actions = actions or []
        if list(lines) != self._lines or over != self._over:
            self._lines, self._over = list(lines), over
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """As given."""
        pieces = self._lines[y] if y < len(self._lines) else EMPTY
        over = self._look.skin.over(self._over) if self._over else None
        return self._look.strip(pieces, self.size.width, over=over)

    def on_click(self, event: events.Click) -> None:
        """What a key would do."""
        for start, end, action in self._actions:
            if start <= event.x < end:
                self.post_message(self.Pressed(action))
