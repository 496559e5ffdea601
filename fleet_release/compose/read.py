"""Small readers that every part of the compose reader uses: typed values with findings in place of exceptions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from fleet_release.compose.keys import Fate, Key
from fleet_release.findings import Findings, Mark, did_you_mean
from fleet_release.yaml_tree import Map, Node, Scalar, Seq

T = TypeVar("T")


class Reader:
    """Reads nodes; whatever is not as wanted becomes a finding and None."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings

    def keys(self, node: Map, table: Mapping[str, Key], where: str) -> None:
        """Check every key of `node` against `table`."""
        for entry in node:
            if entry.key.startswith("x-"):
                continue
            key = table.get(entry.key)
            if key is None:
                close = did_you_mean(entry.key, table)
                self.findings.add("E0412", entry.mark, f'unknown key "{entry.key}"{_in(where)}', suggestion=close)
            elif key.fate is Fate.REFUSED and entry.key != "build" and not _is_one_of(entry.node, key.harmless):
                self.findings.add("E0421", entry.mark, f"{entry.key}{_in(where)} cannot be honoured: {key.why}")
            elif key.fate is Fate.NOTED:
                self.findings.note("N0402", entry.mark, f"{entry.key}{_in(where)} has no effect here: {key.why}")
            elif key.fate is Fate.TRANSLATED:
                self.findings.note("N0401", entry.mark, f"{entry.key}{_in(where)} is translated {key.why}")

    def mapping(self, node: Node | None, what: str) -> Map | None:
        """A mapping; nothing at all is an absent one."""
        if isinstance(node, Map):
            return node
        if node is not None and not (isinstance(node, Scalar) and node.value is None):
            self._kind(node, what, "a mapping")
        return None

    def text(self, node: Node | None, what: str) -> str | None:
        """A single value as it was written."""
        if node is None:
            return None
        if isinstance(node, Scalar):
            return None if node.value is None else node.text
        self._kind(node, what, "a text")
        return None

    def flag(self, node: Node | None, what: str) -> bool | None:
        """True or false; compose takes them as text, too."""
        text = self.text(node, what)
        if node is None or text is None:
            return None
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        self.findings.add("E0413", node.mark, f"{what} wants true or false, not {text[:40]!r}")
        return None

    def parsed(self, node: Node | None, what: str, parse: Callable[[str], T]) -> T | None:
        """A text that `parse` understands; its ValueError becomes the finding."""
        text = self.text(node, what)
        if node is None or text is None:
            return None
        try:
            return parse(text)
        except ValueError as error:
            self.findings.add("E0414", node.mark, f"{what}: {error}")
            return None

    def whole(self, node: Node | None, what: str, low: int, high: int) -> int | None:
        """A whole number within bounds."""

        def parse(text: str) -> int:
            try:
                value = int(text, 10)
            except ValueError:
                raise ValueError(f"{text[:40]!r} is not a whole number") from None
            if not low <= value <= high:
                raise ValueError(f"{value} is not within {low} to {high}")
            return value

        return self.parsed(node, what, parse)

    def items(self, node: Node | None, what: str) -> tuple[Node, ...]:
        """A list."""
        if node is None or (isinstance(node, Scalar) and node.value is None):
            return ()
        if isinstance(node, Seq):
            return node.items
        self._kind(node, what, "a list")
        return ()

    def strings(self, node: Node | None, what: str) -> list[tuple[str, Mark]]:
        """One text or a list of them."""
        if isinstance(node, Scalar) and node.value is not None:
            return [(node.text, node.mark)]
        texts = ((self.text(item, what), item.mark) for item in self.items(node, what))
        return [(text, mark) for text, mark in texts if text is not None]

    def pairs(self, node: Node | None, what: str) -> dict[str, tuple[str | None, Mark]]:
        """A mapping, or a list of NAME=value; None: a name alone."""
        out: dict[str, tuple[str | None, Mark]] = {}
        if isinstance(node, Map):
            for entry in node:
                text = self.text(entry.node, f"{what} {entry.key}")
                if isinstance(entry.node, Scalar):
                    out[entry.key] = (text, entry.mark)
            return out
        for text, mark in self.strings(node, what):
            name, equals, value = text.partition("=")
            out[name] = (value if equals else None, mark)
        return out

    def _kind(self, node: Node, what: str, wanted: str) -> None:
        kind = {Scalar: "a single value", Seq: "a list", Map: "a mapping"}[type(node)]
        self.findings.add("E0413", node.mark, f"{what} wants {wanted}, not {kind}")


def _is_one_of(node: Node, harmless: tuple[str, ...]) -> bool:
    if isinstance(node, Scalar):
        return ("" if node.value is None else node.text.lower()) in harmless
    return False


def _in(where: str) -> str:
    return f" in {where}" if where else ""
