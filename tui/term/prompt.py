"""The line in which a command or a filter is typed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input

from tui.model.commands import complete
from tui.model.line import Piece, line
from tui.term.sheet import Bar, Look

Names = Callable[[], dict[str, Sequence[str]]]


class _Completes(Suggester):
    """Commands, and the names behind them."""

    def __init__(self, names: Names) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._names = names
        self.on = False

    async def get_suggestion(self, value: str) -> str | None:
        """The rest of the word, in grey."""
        return complete(value, self._names()) if self.on else None


class Prompt(Horizontal):
    """Hidden until it is asked for."""

    DEFAULT_CSS = """
    Prompt { height: 1; display: none; }
    Prompt Input { height: 1; border: none; padding: 0; background: transparent; width: 1fr; }
    Prompt Bar { width: 3; }
    """

    class Left(Message):
        """Esc."""

    def __init__(self, look: Look, names: Names) -> None:
        super().__init__()
        self._bar = Bar(look, "kind")
        self._completes = _Completes(names)
        self.kind = ""

    def compose(self) -> ComposeResult:
        """What kind it is, and the field."""
        yield self._bar
        field = Input(max_length=120, suggester=self._completes, compact=True, select_on_focus=False)
        field.cursor_blink = False
        field.can_focus = False
        yield field

    def ask(self, kind: str, text: str) -> None:
        """Open it."""
        self.kind = kind
        self._completes.on = kind == ":"
        self._bar.show(line(Piece(f" {kind} ", "filter")))
        self.display = True
        field = self.query_one(Input)
        field.can_focus = True
        field.value = text
        field.cursor_position = len(text)
        # At once: what is typed in the same burst belongs here, and a letter elsewhere is a command.
        self.screen.set_focus(field)

    def ahead(self, text: str) -> None:
        """Typed in the same burst as the key that opened it, before the field had the focus."""
        self.query_one(Input).insert_text_at_cursor(text)

    def shut(self) -> None:
        """Close it; keys go to the page again."""
        if self.display:
            self.display = False
            self.query_one(Input).can_focus = False
            self.screen.set_focus(None)

    def on_key(self, event: events.Key) -> None:
        """Esc leaves; tab takes what is offered."""
        if event.key == "escape":
            event.stop()
            self.post_message(self.Left())
        elif event.key == "tab":
            event.stop()
            event.prevent_default()
            self.query_one(Input).action_cursor_right()
