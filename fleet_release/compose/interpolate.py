"""Compose's variables: `$NAME`, `${NAME:-default}`, `${NAME?message}`, `${NAME+replacement}`, `$$`; and .env files."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fleet_release.findings import Findings, Mark
from fleet_release.yaml_tree import Entry, Map, Node, Scalar, Seq

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-?+]")
MAX_RESULT = 256 * 1024


class NotSetError(ValueError):
    """A variable without a value and without a default; or one whose own message says so."""


class DollarError(ValueError):
    """A dollar sign that starts nothing known."""


class Variables(Mapping[str, str]):
    """The environment, with .env below it. Remembers what was asked for, to say it in the notes."""

    def __init__(self, environment: Mapping[str, str], dotenv: Mapping[str, str] | None = None) -> None:
        self._environment = environment
        self._dotenv = dict(dotenv or {})
        self.used: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if name in self._environment:
            self.used[name] = "the environment"
            return self._environment[name]
        value = self._dotenv[name]
        self.used[name] = ".env"
        return value

    def __iter__(self) -> object:  # type: ignore[override]
        return iter({**self._dotenv, **self._environment})

    def __len__(self) -> int:
        return len({**self._dotenv, **self._environment})


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """`text` with every variable replaced. Raises NotSetError or DollarError."""
    out, end = _until(text, 0, variables, nested=False)
    if end != len(text):
        raise DollarError("a closing brace without an opening one")
    return out


def _until(text: str, position: int, variables: Mapping[str, str], *, nested: bool) -> tuple[str, int]:
    """Up to the closing brace when nested, else to the end; (replaced text, where it ended)."""
    out: list[str] = []
    length = 0
    while position < len(text):
        char = text[position]
        if nested and char == "}":
            return "".join(out), position
        if char == "$":
            piece, position = _dollar(text, position + 1, variables)
        else:
            piece, position = char, position + 1
        out.append(piece)
        length += len(piece)
        if length > MAX_RESULT:
            raise DollarError("the result is far too long")
    if nested:
        raise DollarError("${ is never closed by a brace")
    return "".join(out), position


def _dollar(text: str, position: int, variables: Mapping[str, str]) -> tuple[str, int]:
    if text.startswith("$", position):
        return "$", position + 1
    if found := _NAME.match(text, position):
        return _value(found[0], variables), found.end()
    if not text.startswith("{", position):
        raise DollarError(f"nothing known follows the dollar sign in {text[:60]!r}")
    found = _NAME.match(text, position + 1)
    if not found:
        raise DollarError(f"no variable's name follows ${{ in {text[:60]!r}")
    name, position = found[0], found.end()
    if text.startswith("}", position):
        return _value(name, variables), position + 1
    operator = _OPERATOR.match(text, position)
    if not operator:
        raise DollarError(f"{text[position : position + 2]!r} cannot follow ${{{name}")
    # The word is only evaluated where it is used: an unset variable in an unused default is no fault.
    start = operator.end()
    _, end = _until(text, start, _Anything(), nested=True)
    value = variables.get(name)
    there = value is not None and not (operator[0].startswith(":") and not value)
    match operator[0][-1]:
        case "-":
            result = value if there and value is not None else interpolate(text[start:end], variables)
        case "+":
            result = interpolate(text[start:end], variables) if there else ""
        case _:
            if not there or value is None:
                raise NotSetError(
                    f"{name} must be set: {interpolate(text[start:end], variables) or 'the file requires it'}"
                )
            result = value
    return result, end + 1


class _Anything(dict[str, str]):
    """Lets the end of a word be found without evaluating it."""

    def __missing__(self, _key: str) -> str:
        return ""

    def get(self, _key: str, _default: object = None) -> str:
        return "x"


def _value(name: str, variables: Mapping[str, str]) -> str:
    try:
        return variables[name]
    except KeyError:
        raise NotSetError(f"the variable {name} is not set") from None


def interpolate_tree(node: Node, variables: Mapping[str, str], findings: Findings) -> Node:
    """Values only, as compose does it; what stands under x- keys is left alone."""
    match node:
        case Map(mark=mark, tag=tag):
            entries = {
                e.key: e
                if e.key.startswith("x-")
                else Entry(e.key, e.mark, interpolate_tree(e.node, variables, findings))
                for e in node
            }
            return Map(mark, entries, tag)
        case Seq(mark=mark, items=items, tag=tag):
            return Seq(mark, tuple(interpolate_tree(i, variables, findings) for i in items), tag)
        case Scalar(mark=mark, value=str(text), tag=tag) if "$" in text:
            replaced = _replaced(text, mark, variables, findings)
            return Scalar(mark, replaced, replaced, tag)
    return node


def _replaced(text: str, mark: Mark, variables: Mapping[str, str], findings: Findings) -> str:
    try:
        return interpolate(text, variables)
    except NotSetError as error:
        findings.add("E0431", mark, str(error), hint="set it, or write a default: ${NAME:-default}")
    except DollarError as error:
        findings.add("E0432", mark, str(error), hint="write $$ for a dollar sign itself")
    return text


def parse_dotenv(text: str, variables: Mapping[str, str]) -> dict[str, str | None]:
    """KEY=value lines; a name alone has no value of its own (None). Raises ValueError that names the line."""
    out: dict[str, str | None] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip().removeprefix("export ").strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        name = name.strip()
        if not _NAME.fullmatch(name):
            raise ValueError(f"line {number} is not NAME=value")
        known = {**dict(variables), **{k: v for k, v in out.items() if v is not None}}
        try:
            out[name] = _dotenv_value(value.strip(), known) if equals else None
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    return out


def _dotenv_value(value: str, variables: Mapping[str, str]) -> str:
    if value[:1] in ("'", '"'):
        quote = value[0]
        end = re.search(rf"(?<!\\){quote}", value[1:])
        if not end:
            raise ValueError("a quote is never closed on its line")
        inner, rest = value[1 : end.start() + 1], value[end.end() + 1 :].strip()
        if rest and not rest.startswith("#"):
            raise ValueError("something follows the closing quote")
        if quote == "'":
            return inner
        for escape, char in (("\\n", "\n"), ("\\r", "\r"), ("\\t", "\t"), ('\\"', '"'), ("\\\\", "\\")):
            inner = inner.replace(escape, char)
        return interpolate(inner, variables)
    bare = re.split(r"\s+#", value, maxsplit=1)[0].strip()
    return interpolate(bare, variables)
