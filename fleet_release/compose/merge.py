"""How one compose file is laid over another, and a service over the one that it extends (compose specification, 13)."""

from __future__ import annotations

from fleet_release.yaml_tree import Entry, Map, Node, Scalar, Seq, plain

REPLACED = frozenset({"command", "entrypoint", "test"})
PAIRS = frozenset({"environment", "labels", "annotations", "sysctls", "extra_hosts", "args", "options", "driver_opts"})
NAMES = frozenset({"depends_on", "networks"})


def merge(base: Node, over: Node, key: str = "") -> Node:
    """`over` laid over `base`; `key` is the one that holds both."""
    if over.tag == "!override":
        return over
    if key in PAIRS or key in NAMES:
        base, over = _as_map(base, key), _as_map(over, key)
    match base, over:
        case Map(), Map():
            return _maps(base, over)
        case Seq(), Seq() if key not in REPLACED:
            return Seq(over.mark, _joined(base.items, over.items, key))
    return over


def without_tags(node: Node) -> Node:
    """After the last merge: what is to be reset is gone, tags are spent."""
    match node:
        case Map(mark=mark):
            return Map(
                mark, {e.key: Entry(e.key, e.mark, without_tags(e.node)) for e in node if e.node.tag != "!reset"}
            )
        case Seq(mark=mark, items=items):
            return Seq(mark, tuple(without_tags(i) for i in items if i.tag != "!reset"))
    return node


def _maps(base: Map, over: Map) -> Map:
    out = dict(base.entries)
    for entry in over:
        below = out.get(entry.key)
        if entry.node.tag == "!reset":
            out.pop(entry.key, None)
        elif below is None:
            out[entry.key] = entry
        else:
            out[entry.key] = Entry(entry.key, entry.mark, merge(below.node, entry.node, entry.key))
    return Map(over.mark, out)


def _as_map(node: Node, key: str) -> Node:
    """`[A=1, B]` as `{A: 1, B: null}`, and `depends_on: [db]` as its long form, so that both forms merge."""
    if not isinstance(node, Seq):
        return node
    out: dict[str, Entry] = {}
    for item in node.items:
        if not isinstance(item, Scalar):
            return node
        name, equals, value = item.text.partition("=") if key in PAIRS else (item.text, "", "")
        held: Node = Scalar(item.mark, value, value) if equals else Scalar(item.mark, None, "")
        if key == "depends_on":
            started = Scalar(item.mark, "service_started", "service_started")
            held = Map(item.mark, {"condition": Entry("condition", item.mark, started)})
        out[name] = Entry(name, item.mark, held)
    return Map(node.mark, out, node.tag)


def _joined(base: tuple[Node, ...], over: tuple[Node, ...], key: str) -> tuple[Node, ...]:
    """Lists are appended; a mount of the same target, or an equal item, is replaced."""
    taken = {_identity(n, key) for n in over}
    return (*(n for n in base if _identity(n, key) not in taken), *over)


def _identity(node: Node, key: str) -> str:
    if key in ("volumes", "configs", "secrets", "devices"):
        if isinstance(node, Map) and (target := node.get("target")) is not None:
            return f"target {plain(target)}"
        if isinstance(node, Scalar) and key in ("volumes", "devices"):
            parts = node.text.split(":")
            return f"target {parts[1] if len(parts) > 1 else parts[0]}"
    return repr(plain(node))
