"""Names of styles become colours: four skins, each of which keeps every state apart without colour too.

`ansi` uses the terminal's own sixteen colours, `mono` none (NO_COLOR); `deuteranopia` avoids red against green.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from rich.style import Style
from textual.theme import BUILTIN_THEMES, Theme

STATES = ("ok", "updating", "degraded", "failed", "held", "quiet", "OVERDUE", "unknown")
_SHARED = {
    "strong": "bold", "title": "bold", "head": "", "dim": "dim", "key": "bold", "mark": "bold", "filter": "bold",
    "words": "bold", "rule": "dim", "bar": "", "bar-strong": "bold", "bar-dim": "dim", "bar-prod": "bold reverse",
    "banner": "bold reverse", "cursor": "reverse", "bar-fill": "", "say": "bold", "stale": "dim",
    "ok": "", "updating": "", "degraded": "bold", "failed": "bold underline", "held": "", "quiet": "dim",
    "OVERDUE": "bold underline", "unknown": "dim",
}  # fmt: skip
_DARK = {
    "strong": "bold #e6edf3", "title": "bold #79c0ff", "head": "#8b949e", "dim": "#8b949e", "key": "#79c0ff",
    "mark": "bold #e3b341", "filter": "#e3b341", "words": "bold #7ee787", "rule": "#30363d", "bar": "#c9d1d9",
    "bar-strong": "bold #ffffff", "bar-dim": "#8b949e", "bar-prod": "bold #ffffff on #a4201a",
    "banner": "bold #ffffff on #8e1519",
    "cursor": "on #1f3350", "bar-fill": "#58708c", "say": "bold #e3b341", "stale": "#6e7681",
    "ok": "#3fb950", "updating": "#39c5cf", "degraded": "#d29922", "failed": "bold #ff6a60", "held": "#8ea6ff",
    "quiet": "#8b949e", "OVERDUE": "bold #ff6a60", "unknown": "#8b949e",
}  # fmt: skip
_DEUTERANOPIA = {
    **_DARK, "words": "bold #56b4e9", "ok": "#56b4e9", "updating": "#e6e6e6", "degraded": "#f0e442",
    "failed": "bold #ff8c3a", "held": "#a99cff", "OVERDUE": "bold #ff8c3a", "mark": "bold #f0e442",
}  # fmt: skip
_ANSI = {
    "strong": "bold", "title": "bold cyan", "head": "bright_black", "dim": "bright_black", "key": "cyan",
    "mark": "bold yellow", "filter": "yellow", "words": "bold green", "rule": "bright_black", "bar": "",
    "bar-strong": "bold", "bar-dim": "bright_black", "bar-prod": "bold white on red", "banner": "bold white on red",
    "cursor": "reverse", "bar-fill": "blue", "say": "bold yellow", "stale": "bright_black",
    "ok": "green", "updating": "cyan", "degraded": "yellow", "failed": "bold red", "held": "blue",
    "quiet": "bright_black", "OVERDUE": "bold red", "unknown": "bright_black",
}  # fmt: skip


_NULL = Style.null()


class Skin(NamedTuple):
    """Colours by name, and whether the terminal's own are used."""

    name: str
    styles: dict[str, Style]
    native: bool
    base: Style  # under all others
    overs: dict[str, Style]

    def over(self, name: str) -> Style:
        """To be laid over pieces: a background, and a colour only where it has one of its own."""
        return self.overs.get(name, _NULL)

    def theme_name(self) -> str:
        """What Textual calls it."""
        return f"roadstead-{self.name}"

    def style(self, name: str) -> Style:
        """Of a piece."""
        return self.styles.get(name, self.base)


def _skin(name: str, words: dict[str, str], *, native: bool) -> Skin:
    # A bar's cells have the state's colour, without its underline or weight.
    fills = {f"fill-{s}": " ".join(w for w in words[s].split() if w not in ("bold", "underline")) for s in STATES}
    base = Style.null() if native else Style.parse("#c9d1d9 on #0d1117")
    styles = {key: base + Style.parse(text) for key, text in {**words, **fills}.items()}
    overs = {key: Style.parse(words[key]) for key in ("cursor", "banner")}
    return Skin(name, styles, native, base, overs)


SKINS = {
    "dark": _skin("dark", _DARK, native=False),
    "ansi": _skin("ansi", _ANSI, native=True),
    "deuteranopia": _skin("deuteranopia", _DEUTERANOPIA, native=False),
    "mono": _skin("mono", _SHARED, native=True),
}


def theme(skin: Skin) -> Theme:
    """For the parts that are Textual's own: the input line and the palette."""
    if skin.native:
        return replace(BUILTIN_THEMES["ansi-dark"], name=skin.theme_name())
    return Theme(
        skin.theme_name(), primary="#79c0ff", secondary="#39c5cf", accent="#e3b341", foreground="#c9d1d9",
        background="#0d1117", surface="#0d1117", panel="#161b22", success="#3fb950", warning="#d29922", error="#ff6a60",
    )  # fmt: skip


def choose(wanted: str | None, environment: dict[str, str]) -> str:
    """NO_COLOR rules; then what was asked for; then what the terminal can."""
    if environment.get("NO_COLOR"):
        return "mono"
    if wanted in SKINS:
        return wanted
    many = environment.get("COLORTERM", "") in ("truecolor", "24bit") or "256" in environment.get("TERM", "")
    return "dark" if many else "ansi"


def needs_ascii(environment: dict[str, str]) -> bool:
    """Whether the terminal or its locale knows ASCII only."""
    locale = environment.get("LC_ALL") or environment.get("LC_CTYPE") or environment.get("LANG") or "UTF-8"
    return environment.get("TERM") == "linux" or "utf" not in locale.lower()
