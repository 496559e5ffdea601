"""YAML 1.2 read into a small tree that knows where everything stands. Duplicates are refused, merge keys followed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from fleet_release.findings import Findings, Mark

MAX_BYTES = 1 << 20
MAX_NODES = 100_000
MAX_DEPTH = 64
CORE = "tag:yaml.org,2002:"
PLAIN_KINDS = ("null", "bool", "int", "float", "str", "map", "seq", "merge", "timestamp", "value")
COMPOSE_TAGS = ("!reset", "!override")


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value; `text` is what was written, without quotes."""

    mark: Mark
    value: bool | int | float | str | None
    text: str
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Seq:
    """A list."""

    mark: Mark
    items: tuple[Node, ...]
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping, and what it holds."""

    key: str
    mark: Mark
    node: Node


@dataclass(frozen=True, slots=True)
class Map:
    """A mapping, in the order of the file."""

    mark: Mark
    entries: dict[str, Entry] = field(default_factory=dict)
    tag: str = ""

    def get(self, key: str) -> Node | None:
        """What `key` holds."""
        entry = self.entries.get(key)
        return entry.node if entry else None

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())


Node = Scalar | Seq | Map


class _TooMuchError(Exception):
    """Carries the place at which reading stopped."""

    def __init__(self, mark: Mark, what: str) -> None:
        super().__init__(what)
        self.mark = mark


def parse(file: str, text: str, findings: Findings) -> list[Node]:
    """Every document of `text`; what cannot be read becomes findings, and then there are no documents."""
    findings.source(file, text)
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        findings.add("E0403", Mark(file), f"the file is larger than {MAX_BYTES // 1024} KiB")
        return []
    reader = YAML(typ="safe", pure=True)
    try:
        roots = list(reader.compose_all(io.StringIO(text)))
        return [_Converter(file, findings).convert(root, 0) for root in roots if root is not None]
    except MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        mark = Mark(file, at.line + 1, at.column + 1) if at else Mark(file)
        hint = "YAML indents with spaces, never with tabs" if "'\\t'" in str(error.problem) else ""
        findings.add("E0401", mark, f"cannot be read as YAML: {_first_line(error.problem or error.context)}", hint=hint)
    except (YAMLError, ValueError) as error:
        findings.add("E0401", Mark(file), f"cannot be read as YAML: {_first_line(error)}")
    except _TooMuchError as error:
        findings.add("E0403", error.mark, str(error))
    except RecursionError:
        findings.add("E0403", Mark(file), f"nested deeper than {MAX_DEPTH} levels")
    return []


def plain(node: Node) -> Any:
    """The tree as ordinary values."""
    match node:
        case Scalar(value=value):
            return value
        case Seq(items=items):
            return [plain(i) for i in items]
        case Map():
            return {e.key: plain(e.node) for e in node}


def locate(node: Node, path: tuple[str | int, ...], *, key: bool = False) -> Mark:
    """The place of the value at `path`, or of its key; parts that do not exist (a model's own) are passed over."""
    mark = node.mark
    for part in path:
        match node:
            case Map(entries=entries) if str(part) in entries:
                entry = entries[str(part)]
                node, mark = entry.node, entry.mark if key else entry.node.mark
            case Seq(items=items) if isinstance(part, int) and part < len(items):
                node = items[part]
                mark = node.mark
            case _:
                continue
    return mark


class _Converter:
    """Counts what it converts, so that aliases of aliases cannot grow without end."""

    def __init__(self, file: str, findings: Findings) -> None:
        self._file = file
        self._findings = findings
        self._count = 0

    def convert(self, node: Any, depth: int) -> Node:
        mark = self._mark(node)
        self._count += 1
        if self._count > MAX_NODES:
            raise _TooMuchError(mark, f"more than {MAX_NODES} values, aliases followed")
        if depth > MAX_DEPTH:
            raise _TooMuchError(mark, f"nested deeper than {MAX_DEPTH} levels")
        tag = self._tag(node, mark)
        match node:
            case MappingNode():
                return self._map(node, mark, tag, depth)
            case SequenceNode():
                return Seq(mark, tuple(self.convert(n, depth + 1) for n in node.value), tag)
            case ScalarNode():
                return Scalar(mark, self._value(node, mark), str(node.value), tag)
        raise _TooMuchError(mark, "something that is neither a value, a list nor a mapping")

    def _map(self, node: MappingNode, mark: Mark, tag: str, depth: int) -> Map:
        own: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        for key_node, value_node in node.value:
            key_mark = self._mark(key_node)
            if not isinstance(key_node, ScalarNode):
                self._findings.add("E0413", key_mark, "a key must be a plain text")
                continue
            if key_node.tag == CORE + "merge":
                self._merge(value_node, merged, depth)
                continue
            key = str(key_node.value)
            if key in own:
                first = own[key].mark.line
                self._findings.add("E0402", key_mark, f'the key "{key}" stands here twice, first in line {first}')
                continue
            own[key] = Entry(key, key_mark, self.convert(value_node, depth + 1))
        return Map(mark, {**{k: v for k, v in merged.items() if k not in own}, **own}, tag)

    def _merge(self, node: Any, merged: dict[str, Entry], depth: int) -> None:
        """YAML's merge key: the first of several mappings wins."""
        sources = node.value if isinstance(node, SequenceNode) else [node]
        for source in sources:
            if not isinstance(source, MappingNode):
                self._findings.add(
                    "E0413", self._mark(source), "a merge key (<<) wants a mapping or a list of mappings"
                )
                continue
            for entry in self._map(source, self._mark(source), "", depth + 1):
                merged.setdefault(entry.key, entry)

    def _tag(self, node: Any, mark: Mark) -> str:
        tag = str(node.tag)
        if tag in COMPOSE_TAGS:
            return tag
        if tag.removeprefix(CORE) not in PLAIN_KINDS:
            self._findings.add("E0404", mark, f"the tag {tag} is not accepted")
        return ""

    def _value(self, node: ScalarNode, mark: Mark) -> bool | int | float | str | None:
        text = str(node.value)
        kind = str(node.tag).removeprefix(CORE)
        try:
            match kind:
                case "null":
                    return None
                case "bool":
                    return text.lower() == "true"
                case "int":
                    return _whole(text)
                case "float":
                    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            self._findings.add("E0414", mark, f"{text[:40]} cannot be read as a number")
        return text

    def _mark(self, node: Any) -> Mark:
        start = node.start_mark
        return Mark(self._file, start.line + 1, start.column + 1)


def _whole(text: str) -> int:
    digits = text.replace("_", "").lower()
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    for prefix, base in (("0x", 16), ("0o", 8), ("0b", 2)):
        if digits.startswith(prefix):
            return sign * int(digits[2:], base)
    return sign * int(digits, 10)


def _first_line(error: object) -> str:
    return (str(error).strip().splitlines() or ["?"])[0][:200]
