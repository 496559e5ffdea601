"""The question before something changes: consequences, the equal command, and for severe acts a name to type."""

from __future__ import annotations

from typing import NamedTuple

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from tui.model.actions import Question
from tui.model.line import EMPTY, Line, Piece, line
from tui.term.sheet import Bar, Look


class Answer(NamedTuple):
    """Yes, and why."""

    reason: str


class Dialog(ModalScreen[Answer | None]):
    """Ends with an Answer, or None."""

    CSS = """
    Dialog { align: center middle; background: $background 60%; }
    Dialog > Vertical { width: 84; max-width: 96%; height: auto; border: round $error; padding: 0 1; }
    Dialog > Vertical { background: $surface; }
    Dialog.-ascii > Vertical { border: ascii $error; }
    Dialog.-moderate > Vertical { border: round $primary; }
    Dialog.-moderate.-ascii > Vertical { border: ascii $primary; }
    Dialog Input { height: 1; border: none; padding: 0 1; background: $panel; margin: 0 0 0 1; }
    Dialog Bar { height: auto; }
    """

    def __init__(self, look: Look, question: Question, context: str) -> None:
        super().__init__(classes=f"-{question.level}" + (" -ascii" if look.ascii_only else ""))
        self._look, self._question, self._where = look, question, context

    def compose(self) -> ComposeResult:
        """Text, then what is to be typed, then the keys."""
        ask = self._question
        head = line(Piece(f" {ask.title}", "title"), Piece(f"   on {self._where}", "dim"))
        body: list[Line] = [head, EMPTY, *((Piece(" "), *text) for text in ask.lines), EMPTY]
        for number, command in enumerate(ask.command.split("; ")):
            body.append(line(Piece(" Same as:  " if number == 0 else "           ", "dim"), Piece(command, "key")))
        body.append(EMPTY)
        with Vertical():
            yield self._bar("said", body)
            if ask.reason:
                yield self._bar("why", [line(Piece(" Reason (it is audited):", "dim"))])
                yield Input(id="reason", max_length=200, compact=True)
            if ask.confirm:
                yield self._bar(
                    "type", [line(Piece(" Type ", "dim"), Piece(ask.confirm, "strong"), Piece(" to confirm:", "dim"))]
                )
                yield Input(id="confirm", max_length=80, compact=True)
            yield self._bar("keys", [EMPTY, self._keys()])

    def on_mount(self) -> None:
        """The first thing to type has the focus; without one, the keys y and n."""
        fields = list(self.query(Input))
        for field in fields:
            field.cursor_blink = False
        if fields:
            fields[0].focus()

    def _bar(self, name: str, lines: list[Line]) -> Bar:
        bar = Bar(self._look, name)
        bar.styles.height = len(lines)
        bar.show(*lines, actions=[(0, 200, "answer")] if name == "keys" else None)
        return bar

    def _keys(self) -> Line:
        yes = "enter" if self._question.confirm else "y"
        return line(
            Piece(f" {yes} ", "key"),
            Piece(f"{self._question.yes}     ", "strong"),
            Piece("esc ", "key"),
            Piece("leave it", "dim"),
        )

    def on_key(self, event: events.Key) -> None:
        """y, n and esc; letters belong to the fields where there are any."""
        typed = bool(self._question.confirm)
        if event.key == "escape" or (not typed and event.key in ("n", "q")):
            event.stop()
            self.dismiss(None)
        elif not typed and event.key == "y":
            event.stop()
            self.dismiss(Answer(""))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """On to the next field; from the last one, the answer, if what was to be typed was typed."""
        if event.input.id == "reason":
            self.query_one("#confirm", Input).focus()
        elif event.value.strip() == self._question.confirm:
            reason = self.query_one("#reason", Input).value.strip() if self._question.reason else ""
            self.dismiss(Answer(reason))
        else:
            event.input.value = ""
            event.input.placeholder = f"that is not {self._question.confirm}"

    def on_bar_pressed(self, _event: Bar.Pressed) -> None:
        """A click on the keys means yes only where nothing is to be typed."""
        if not self._question.confirm:
            self.dismiss(Answer(""))
