"""Compose files read, interpolated, extended, included and laid over each other: one tree, in which every value still
knows the file and line that it came from."""

from __future__ import annotations

import errno
import os.path
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fleet_release.compose.interpolate import Variables, interpolate_tree, parse_dotenv
from fleet_release.compose.keys import EXTENDS, INCLUDE, TOP
from fleet_release.compose.merge import merge, without_tags
from fleet_release.compose.read import Reader
from fleet_release.findings import Findings, Mark, did_you_mean
from fleet_release.yaml_tree import MAX_BYTES, Entry, Map, Node, Scalar, parse

SECTIONS = ("services", "networks", "volumes", "configs", "secrets")
MAX_CHAIN = 16


class Files(Protocol):
    """Where texts come from; raises OSError or UnicodeDecodeError."""

    def read(self, path: str) -> str:
        """The text of `path`."""


class DiskFiles:
    """Files as they lie on disk, relative to the working directory."""

    def read(self, path: str) -> str:
        """The text of `path`."""
        return read_file(Path(path))


def read_file(path: Path) -> str:
    """The text of a file. A pipe or a device, which may never end, is refused, and what is far too large (OSError)."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "is a directory" if path.is_dir() else "is not an ordinary file", str(path))
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {MAX_BYTES // 1024} kilobytes", str(path))
    return data.decode("utf-8")


class TextFiles:
    """Texts held in memory, by path."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = {os.path.normpath(k): v for k, v in texts.items()}

    def read(self, path: str) -> str:
        """The text of `path`."""
        try:
            return self._texts[os.path.normpath(path)]
        except KeyError:
            raise FileNotFoundError(2, "no such file", path) from None


@dataclass(frozen=True, slots=True)
class Sources:
    """What loading needs from outside."""

    files: Files
    variables: Variables
    findings: Findings


@dataclass(slots=True)
class _Loader:
    sources: Sources
    reader: Reader
    trees: dict[str, Map | None] = field(default_factory=dict)

    def project(self, path: str, chain: tuple[str, ...], mark: Mark | None) -> Map | None:
        """One file with what it extends and includes."""
        if path in chain or len(chain) > MAX_CHAIN:
            self.sources.findings.add("E0434", mark or Mark(path), f"{path} includes itself")
            return None
        tree = self.tree(path, mark)
        if tree is None:
            return None
        services = self.reader.mapping(tree.get("services"), "services")
        out = dict(tree.entries)
        if services:
            entries = {e.key: Entry(e.key, e.mark, self.extended(path, e, ())) for e in services}
            out["services"] = Entry("services", tree.entries["services"].mark, Map(services.mark, entries))
        included = out.pop("include", None)
        result = Map(tree.mark, out)
        for item in self.reader.items(included.node if included else None, "include"):
            result = self._include(result, path, item, (*chain, path))
        return result

    def tree(self, path: str, mark: Mark | None) -> Map | None:
        """One file, interpolated; read once."""
        if path in self.trees:
            return self.trees[path]
        self.trees[path] = None
        text = read_text(self.sources, path, mark)
        documents = parse(path, text, self.sources.findings) if text is not None else []
        if text is not None and len(documents) > 1:
            self.sources.findings.add("E0413", documents[1].mark, "a compose file holds one document")
        if documents:
            root = interpolate_tree(documents[0], self.sources.variables, self.sources.findings)
            if isinstance(root, Map):
                self.reader.keys(root, TOP, "")
                self.trees[path] = root
            else:
                self.sources.findings.add("E0413", root.mark, "a compose file is a mapping")
        elif text is not None and not text.strip():
            self.sources.findings.add("E0411", Mark(path), "the file is empty")
        return self.trees[path]

    def extended(self, path: str, entry: Entry, chain: tuple[tuple[str, str], ...]) -> Node:
        """A service with what it extends laid below it."""
        service = entry.node
        if not isinstance(service, Map) or "extends" not in service.entries:
            return service
        extends = service.entries["extends"]
        own = Map(service.mark, {k: v for k, v in service.entries.items() if k != "extends"}, service.tag)
        file, name = path, None
        if isinstance(extends.node, Scalar):
            name = self.reader.text(extends.node, "extends")
        elif isinstance(extends.node, Map):
            self.reader.keys(extends.node, EXTENDS, "extends")
            name = self.reader.text(extends.node.get("service"), "extends.service")
            other = self.reader.text(extends.node.get("file"), "extends.file")
            file = beside(path, other) if other else path
        if name is None:
            self.sources.findings.add("E0434", extends.mark, "extends names no service")
            return own
        if (file, name) in chain or (file, name) == (path, entry.key) or len(chain) > MAX_CHAIN:
            self.sources.findings.add("E0434", extends.mark, f"{entry.key} extends itself through {name}")
            return own
        tree = self.tree(file, extends.mark)
        services = tree.get("services") if tree else None
        base = services.entries.get(name) if isinstance(services, Map) else None
        if base is None:
            if tree is not None:
                known = services.entries if isinstance(services, Map) else ()
                close = did_you_mean(name, known)
                self.sources.findings.add(
                    "E0434", extends.mark, f"{file} has no service {name} to extend", suggestion=close
                )
            return own
        return merge(self.extended(file, base, (*chain, (path, entry.key))), own)

    def _include(self, into: Map, path: str, item: Node, chain: tuple[str, ...]) -> Map:
        names = self.reader.strings(item, "include") if isinstance(item, Scalar) else []
        if isinstance(item, Map):
            self.reader.keys(item, INCLUDE, "include")
            names = self.reader.strings(item.get("path"), "include.path")
        layers = [self.project(beside(path, name), chain, mark) for name, mark in names]
        found = [layer for layer in layers if layer is not None]
        if not found:
            return into
        included: Node = found[0]
        for layer in found[1:]:
            included = merge(included, layer)
        out = dict(into.entries)
        for section in SECTIONS:
            theirs = included.get(section) if isinstance(included, Map) else None
            if not isinstance(theirs, Map):
                continue
            mine = into.get(section)
            if not isinstance(mine, Map):
                out[section] = Entry(section, theirs.mark, theirs)
                continue
            for entry in theirs:
                if entry.key in mine.entries:
                    where = f"{entry.mark.file}:{entry.mark.line}"
                    self.sources.findings.add(
                        "E0434",
                        mine.entries[entry.key].mark,
                        f"{entry.key} is defined here and in the included {where}",
                    )
            out[section] = Entry(section, mine.mark, Map(mine.mark, {**theirs.entries, **mine.entries}))
        return Map(into.mark, out)


def load_tree(paths: tuple[str, ...], sources: Sources, named_at: Mark | None = None) -> Map | None:
    """The merged tree of all `paths`, later ones over earlier ones; None when a file could not be read."""
    loader = _Loader(sources, Reader(sources.findings))
    trees = [loader.project(os.path.normpath(path), (), named_at) for path in paths]
    if not trees or any(t is None for t in trees):
        return None
    whole: Node | None = None
    for tree in trees:
        whole = tree if whole is None or tree is None else merge(whole, tree)
    cleaned = without_tags(whole) if whole is not None else None
    return cleaned if isinstance(cleaned, Map) else None


def read_text(sources: Sources, path: str, mark: Mark | None) -> str | None:
    """The text of `path`, or a finding where it is named."""
    try:
        return sources.files.read(path)
    except OSError as error:
        sources.findings.add(
            "E0433", mark or Mark(path), f"{path} cannot be read: {(error.strerror or 'no such file').lower()}"
        )
    except UnicodeDecodeError:
        sources.findings.add("E0433", mark or Mark(path), f"{path} is not UTF-8 text")
    return None


def variables_of(first: str, files: Files, environment: Mapping[str, str], findings: Findings) -> Variables:
    """The environment over the .env file beside the first compose file."""
    path = beside(first, ".env")
    try:
        text = files.read(path)
    except (OSError, UnicodeDecodeError):
        return Variables(environment)
    try:
        values = parse_dotenv(text, environment)
    except ValueError as error:
        findings.add("E0432", Mark(path), f"{path}: {error}")
        return Variables(environment)
    return Variables(environment, {k: v for k, v in values.items() if v is not None})


def beside(file: str, other: str) -> str:
    """`other` as `file` means it."""
    return os.path.normpath(os.path.join(os.path.dirname(file), other))
