"""A device's states as they are shown everywhere: symbol, word, and a style of the same name. Pure."""

from __future__ import annotations

from tui.model.line import Piece

# Worst first: this is the order of sorting by state.
SYMBOLS = {
    "failed": "✗",
    "OVERDUE": "○",
    "degraded": "▲",
    "updating": "↻",
    "held": "‖",
    "unknown": "?",
    "quiet": "○",
    "ok": "●",
}
RANK = {word: number for number, word in enumerate(SYMBOLS)}
SICK = frozenset({"failed", "OVERDUE", "degraded"})
SEVERITY = {"error": ("✗", "failed"), "warn": ("▲", "degraded"), "info": ("·", "dim")}

# For terminals and fonts without these; one ASCII character for each, so that columns stay where they are.
ASCII = str.maketrans(
    {
        "●": "+", "↻": "~", "▲": "!", "✗": "x", "‖": "|", "○": ".", "✓": "v", "·": "-", "›": ">", "▸": ">", "│": "|",
        "─": "-", "┌": "+", "┐": "+", "└": "+", "┘": "+", "…": "~", "→": ">", "≥": ">", "≤": "<", "█": "#", "▓": "=",
        "▒": "-", "░": ".", "▁": "_", "▂": "_", "▃": "-", "▄": "-", "▅": "=", "▆": "=", "▇": "#", "▼": "v", "┄": "-",
        "×": "x", "\N{REPLACEMENT CHARACTER}": "?",
    }
)  # fmt: skip


def word(state: str) -> Piece:
    """`✗ failed` in its style; a state of a newer server is shown as it came."""
    return Piece(f"{SYMBOLS.get(state, '?')} {state}", state if state in SYMBOLS else "unknown")


def symbol(state: str) -> Piece:
    """The symbol alone."""
    return Piece(SYMBOLS.get(state, "?"), state if state in SYMBOLS else "unknown")
