"""One small grammar for filters and sort orders, shared by API, command line and terminal UI. Pure, standard library.

    filter  = { term }                     all of them hold; `and` between two is allowed and means nothing
    term    = [ "!" ] ( word | field op value )
    op      = "="  "!="  ">"  ">="  "<"  "<="
    value   = plain | "quoted" ; with = and != several, by commas, any of them; `*` stands for any characters
    word    = a part of the name

`site=lyon state!=ok gw>=1.9 !lab` - at site lyon, not ok, app gw at 1.9 or newer, and no `lab` in the name. What is not
a field of its own is a label (`label.site` where a field has the same name). What something does not have equals
nothing, differs from everything, and is neither more nor less. More and less compare numbers with units (`64Mi`, `90s`,
`5m`, `2h`, `95%`) as numbers, everything else as versions: `1.10` is more than `1.9`.

    sort    = key { "," key } ;  key = [ "-" ] field

Whatever the keys, the name comes last, so that the order is always the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from fleet_protocol.wire.errors import Exit, RoadsteadError

MAX_FILTER = 500
MAX_TERMS = 16
MAX_VALUES = 32
MAX_STARS = 4
MAX_SORT_KEYS = 4

Value = str | int | float
Look = Callable[[str], Iterable[Value]]
"""What something has under a field: nothing, one value, or several."""

FIELD = r"[A-Za-z][A-Za-z0-9_.-]{0,63}"
_TERM = re.compile(rf"({FIELD})(!=|>=|<=|=|>|<)")
_FIELD = re.compile(FIELD)
_PLAIN = re.compile(r"[^\s\",!=<>]+")
_WORD = re.compile(r"[^\s\",!=<>]+")
_NUMBER = re.compile(r"(-?[0-9]{1,15}(?:\.[0-9]{1,9})?)(Ki|Mi|Gi|s|m|h|d|%|)")
_UNITS = {"": 1, "%": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3}
_PARTS = re.compile(r"[0-9]+|[^0-9.+_-]+")


class WhereError(RoadsteadError):
    """A filter or a sort order that cannot be read; `at` is where, counted from 0."""

    phase = "reading a filter"
    component = "filter"
    code = "E0110"
    exit_status = Exit.USAGE

    def __init__(self, reason: str, text: str, at: int) -> None:
        shown = text if len(text) <= 80 else text[:77] + "..."
        super().__init__(reason, element=repr(shown), hint="fleet explain E0110")
        self.at = at


class Term(NamedTuple):
    """One condition; `op` "" is a word in the name."""

    field: str
    op: str
    values: tuple[str, ...]
    negated: bool = False

    def __str__(self) -> str:
        said = self.values[0] if not self.op else f"{self.field}{self.op}{','.join(map(_quoted, self.values))}"
        return f"!{said}" if self.negated else said


class Where(NamedTuple):
    """A filter. The empty one holds for everything."""

    terms: tuple[Term, ...] = ()

    def __str__(self) -> str:
        return " ".join(map(str, self.terms))

    def fields(self) -> frozenset[str]:
        """What it looks at; words look at `name`."""
        return frozenset(term.field for term in self.terms)

    def holds(self, look: Look) -> bool:
        """Whether something with these fields is meant."""
        return all(_holds(term, look) != term.negated for term in self.terms)


class SortKey(NamedTuple):
    """One key of an order."""

    field: str
    down: bool = False

    def __str__(self) -> str:
        return f"-{self.field}" if self.down else self.field


def parse_where(text: str) -> Where:
    """The filter in `text`. Raises WhereError."""
    if len(text) > MAX_FILTER:
        raise WhereError(f"{len(text)} characters, at most {MAX_FILTER} are read", text, MAX_FILTER)
    terms: list[Term] = []
    at = _space(text, 0)
    while at < len(text):
        term, at = _term(text, at)
        if term is not None:
            terms.append(term)
        if len(terms) > MAX_TERMS:
            raise WhereError(f"more than {MAX_TERMS} conditions", text, at)
        after = _space(text, at)
        if after == at < len(text):
            raise WhereError(f"{text[at]!r} is not expected here", text, at)
        at = after
    return Where(tuple(terms))


def parse_sort(text: str) -> tuple[SortKey, ...]:
    """The order in `text`: `-memory,name`. Raises WhereError."""
    if not text:
        return ()
    keys: list[SortKey] = []
    for part in text.split(","):
        field = part.removeprefix("-")
        if not _FIELD.fullmatch(field):
            raise WhereError(f"{field[:40]!r} is no field to sort by", text, 0)
        if field in (key.field for key in keys):
            raise WhereError(f"{field} is there twice", text, 0)
        keys.append(SortKey(field, part.startswith("-")))
    if len(keys) > MAX_SORT_KEYS:
        raise WhereError(f"more than {MAX_SORT_KEYS} fields", text, 0)
    return tuple(keys)


def number(text: str) -> float | None:
    """`64Mi`, `90s`, `95%`, `3.5` as a number; None for anything else."""
    found = _NUMBER.fullmatch(text)
    return float(found[1]) * _UNITS[found[2]] if found else None


def version_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Orders versions: numbers as numbers, a part with letters below none at all (`1.9.0-rc1` comes before `1.9.0`)."""
    parts = [
        (2, int(part), "") if part.isdecimal() else (0, 0, part) for part in _PARTS.findall(text.partition("+")[0])
    ]
    return (*parts, (1, 0, ""))


# --- reading


def _space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _term(text: str, at: int) -> tuple[Term | None, int]:
    negated = text[at] == "!"
    at += negated
    found = _TERM.match(text, at)
    if found:
        values, end = _values(text, found.end(), several=found[2] in ("=", "!="))
        return Term(found[1], found[2], values, negated), end
    word = _WORD.match(text, at)
    if not word:
        raise WhereError("a word or FIELD=VALUE is wanted", text, at)
    if word[0] == "and" and not negated:
        return None, word.end()
    return Term("name", "", (word[0],), negated), word.end()


def _values(text: str, at: int, *, several: bool) -> tuple[tuple[str, ...], int]:
    out: list[str] = []
    while True:
        value, at = _value(text, at)
        if value.count("*") > MAX_STARS:
            raise WhereError(f"more than {MAX_STARS} stars in one value", text, at)
        out.append(value)
        if len(out) > MAX_VALUES:
            raise WhereError(f"more than {MAX_VALUES} values", text, at)
        if not several or at >= len(text) or text[at] != ",":
            return tuple(out), at
        at += 1


def _value(text: str, at: int) -> tuple[str, int]:
    if at < len(text) and text[at] == '"':
        end = text.find('"', at + 1)
        if end < 0:
            raise WhereError("the quote is not closed", text, at)
        return text[at + 1 : end], end + 1
    found = _PLAIN.match(text, at)
    if not found:
        raise WhereError("a value is wanted", text, at)
    return found[0], found.end()


def _quoted(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else f'"{value}"'


# --- holding


def _holds(term: Term, look: Look) -> bool:
    found = list(look(term.field))
    match term.op:
        case "":
            return any(term.values[0].casefold() in str(value).casefold() for value in found)
        case "=":
            return any(_equal(value, wanted) for value in found for wanted in term.values)
        case "!=":
            return not any(_equal(value, wanted) for value in found for wanted in term.values)
        case op:
            return any(_ordered(value, op, term.values[0]) for value in found)


def _equal(value: Value, wanted: str) -> bool:
    if isinstance(value, str):
        return _like(value, wanted) if "*" in wanted else value == wanted
    said = number(wanted)
    return said is not None and float(value) == said


def _like(value: str, pattern: str) -> bool:
    """Whether `value` is `pattern`, where each star stands for any characters. Linear: no going back further than the
    part before."""
    first, *middle, last = pattern.split("*")
    if len(value) < len(first) + len(last) or not value.startswith(first) or not value.endswith(last):
        return False
    at, end = len(first), len(value) - len(last)
    for part in middle:
        found = value.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _ordered(value: Value, op: str, wanted: str) -> bool:
    said = number(wanted)
    if isinstance(value, str):
        held = number(value)
        if held is None or said is None:
            return _compare(version_key(value), op, version_key(wanted))
        return _compare((held,), op, (said,))
    return said is not None and _compare((float(value),), op, (said,))


def _compare(left: tuple[object, ...], op: str, right: tuple[object, ...]) -> bool:
    match op:
        case ">":
            return left > right
        case ">=":
            return left >= right
        case "<":
            return left < right
        case _:
            return left <= right
