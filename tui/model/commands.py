"""`:` commands: a word, and for some an argument; any beginning that is clear will do. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import NamedTuple

PAGES = {
    "overview": "overview",
    "devices": "devices",
    "rollouts": "rollouts",
    "events": "events",
    "fleets": "fleets",
    "enrolments": "enrolments",
    "contexts": "contexts",
    "keys": "help",
}
WORDS = (*PAGES, "ctx", "device", "rollout", "theme", "quit")
SHORT = {
    "d": "devices",
    "dev": "devices",
    "ro": "rollouts",
    "ev": "events",
    "e": "enrolments",
    "q": "quit",
    "f": "fleets",
}


class Command(NamedTuple):
    """A word of WORDS and what came behind it; `error` says why there is none."""

    word: str = ""
    argument: str = ""
    error: str = ""


def parse(text: str) -> Command:
    """What was typed behind the colon."""
    word, _, argument = text.strip().partition(" ")
    argument = argument.strip()
    if not word:
        return Command()
    if word in SHORT:
        return Command(SHORT[word], argument)
    if word in WORDS:
        return Command(word, argument)
    begins = [w for w in WORDS if w.startswith(word)]
    if len(begins) == 1 or (begins and begins[0].startswith(begins[-1])):
        return Command(begins[0], argument)
    if begins:
        return Command(error=f"{word} is short for {' and '.join(begins)}")
    close = get_close_matches(word, WORDS, n=1)
    return Command(error=f"no command {word}" + (f"; did you mean {close[0]}?" if close else "; ? lists the keys"))


def complete(text: str, names: dict[str, Sequence[str]]) -> str | None:
    """The whole line that `text` begins: a command, or behind one a name of its kind (`names` by command)."""
    word, space, argument = text.partition(" ")
    if not space:
        return next((w for w in WORDS if w.startswith(word) and w != word), None) if word else None
    known = names.get(SHORT.get(word, word), ())
    found = next((n for n in known if n.startswith(argument) and n != argument), None) if argument else None
    return f"{word} {found}" if found else None
