"""Every key, once: the footer, the help, the palette and what a key does come from this table. Pure.

Capital letters change something on the fleet, and always ask before.
"""

from __future__ import annotations

from typing import NamedTuple

EVERYWHERE = ("*",)
LISTS = ("overview", "devices", "rollouts", "events", "fleets", "enrolments", "contexts", "rollout")


class Key(NamedTuple):
    """One key: what Textual calls it, how it is shown, what it does and where."""

    key: str
    shown: str
    word: str
    action: str
    pages: tuple[str, ...]
    says: str
    changes: bool = False


KEYS: tuple[Key, ...] = (
    Key("enter", "enter", "open", "open", LISTS, "Open what the cursor is on"),
    Key("escape", "esc", "up", "up", EVERYWHERE, "Clear the filter; else one level up"),
    Key("0", "0", "overview", "page overview", EVERYWHERE, "The fleet in one page: causes, rollouts, fleets"),
    Key("1", "1", "devices", "page devices", EVERYWHERE, "Every device, with why it is as it is"),
    Key("2", "2", "rollouts", "page rollouts", EVERYWHERE, "Releases on their way"),
    Key("3", "3", "events", "page events", EVERYWHERE, "What happened on the hosts"),
    Key("4", "4", "fleets", "page fleets", EVERYWHERE, "Selectors and what they run"),
    Key("5", "5", "enrolments", "page enrolments", EVERYWHERE, "Hosts that ask to be let in"),
    Key("slash", "/", "filter", "filter", ("devices", "events"), "Show only what matches"),
    Key("colon", ":", "command", "command", EVERYWHERE, "Go somewhere by name: dev, ro, ev, fleet, ctx NAME, theme"),
    Key("minus", "-", "back", "back", EVERYWHERE, "The page before this one, and back again"),
    Key("left_square_bracket", "[", "older", "older", EVERYWHERE, "Back through the pages seen"),
    Key("right_square_bracket", "]", "newer", "newer", EVERYWHERE, "Forward again"),
    Key("space", "space", "mark", "mark", ("devices", "enrolments"), "Mark it; what follows is done to all marked"),
    Key("ctrl+a", "ctrl-a", "mark all", "mark_all", ("devices", "enrolments"), "Mark everything that is listed"),
    Key("o", "o", "sort", "sort", ("devices",), "Next order: name, state, why, memory, seen, site"),
    Key("z", "z", "faults", "faults", ("devices", "events"), "Only what is not well"),
    Key("w", "w", "wide", "wide", ("devices",), "More columns, or the row's own pane"),
    Key("y", "y", "raw", "raw", ("devices", "device"), "The device as the server's API gives it"),
    Key("e", "e", "events", "device_events", ("devices", "device"), "This device's events"),
    Key("t", "t", "token", "token", ("enrolments", "overview", "devices"), "How to let another host in"),
    Key("p", "p", "pause", "pause", ("rollout",), "Pause the rollout, or let it go on", changes=True),
    Key("n", "n", "promote", "promote", ("rollout",), "Open the next wave now", changes=True),
    Key("A", "A", "abort+revert", "abort", ("rollout",), "End it and take devices back", changes=True),
    Key("f", "f", "failed", "failed", ("rollout",), "The devices that failed"),
    Key("Y", "Y", "approve", "approve", ("enrolments",), "Let the host in, after comparing the words", changes=True),
    Key("N", "N", "reject", "reject", ("enrolments",), "Turn the host away", changes=True),
    Key("D", "D", "decommission", "decommission", ("devices", "device"), "End its identity for good", changes=True),
    Key("c", "c", "copy", "copy", EVERYWHERE, "Copy the name under the cursor (OSC 52)"),
    Key("r", "r", "read now", "refresh", EVERYWHERE, "Ask the server now"),
    Key("question_mark", "?", "keys", "page help", EVERYWHERE, "This page"),
    Key("ctrl+p", "ctrl-p", "palette", "palette", EVERYWHERE, "Everything by name"),
    Key("q", "q", "quit", "quit", EVERYWHERE, "Leave"),
)

FOOTERS: dict[str, tuple[str, ...]] = {
    "overview": ("open", "page devices", "page rollouts", "page events", "page enrolments", "command"),
    "devices": ("open", "filter", "faults", "sort", "mark", "wide", "device_events", "decommission"),
    "device": ("device_events", "raw", "copy", "decommission", "up"),
    "rollouts": ("open", "page overview", "page devices", "command"),
    "rollout": ("pause", "promote", "abort", "failed", "open", "up"),
    "events": ("open", "filter", "faults", "page overview", "page devices", "up"),
    "fleets": ("open", "page overview", "page devices", "command"),
    "enrolments": ("approve", "reject", "mark", "token", "page overview", "up"),
    "contexts": ("open", "up"),
    "raw": ("copy", "up"),
    "help": ("up",),
}
ALWAYS = ("page help", "quit")


def keys_of(page: str, *, writable: bool = True) -> list[Key]:
    """What works on a page; without what changes something when nothing may be changed."""
    return [k for k in KEYS if (page in k.pages or k.pages == EVERYWHERE) and (writable or not k.changes)]


def footer(page: str, *, writable: bool = True) -> list[Key]:
    """The few that the last line shows, in its order."""
    known = {k.action: k for k in keys_of(page, writable=writable)}
    return [known[action] for action in (*FOOTERS.get(page, ()), *ALWAYS) if action in known]


def action_of(page: str, key: str, *, writable: bool = True) -> str | None:
    """What a key does on a page."""
    return next((k.action for k in keys_of(page, writable=writable) if k.key == key), None)
