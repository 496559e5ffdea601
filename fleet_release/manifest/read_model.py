"""A tree read into a pydantic model: every fault becomes a finding at the line and column that caused it."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fleet_protocol.wire import bounds
from fleet_release.findings import Findings, did_you_mean
from fleet_release.manifest.schema import names_at, schema_of
from fleet_release.yaml_tree import Entry, Map, Node, Scalar, Seq, locate, plain

M = TypeVar("M", bound=BaseModel)
Path = tuple[str | int, ...]

# What a model's kinds and patterns are called by people who write files.
WANTED = {
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
}
PATTERNS = {
    f"^(?:{pattern})$": words
    for pattern, words in (
        (bounds.NAME_PATTERN, "a-z, 0-9 and hyphens inside, at most 32"),
        (bounds.VERSION_PATTERN, "letters, digits and . + - inside, at most 64"),
        (bounds.LABEL_KEY_PATTERN, "a letter a-z, then a-z 0-9 . _ -, at most 32"),
        (bounds.LABEL_VALUE_PATTERN, "a letter or digit, then letters, digits and . _ / : -, at most 63"),
        (bounds.CONFIG_KEY_PATTERN, "a letter or _, then letters, digits and . _ -, at most 64"),
        (bounds.ENV_NAME_PATTERN, "a letter or _, then letters, digits and _, at most 64"),
    )
}


def read_model(model: type[M], node: Node, findings: Findings, *, texts: tuple[Path, ...] = ()) -> M | None:
    """`texts`: paths ("*" is any key) whose single values are taken as written, so that 1.10 stays 1.10."""
    if not isinstance(node, Map):
        findings.add("E0413", node.mark, "the file is a mapping of keys")
        return None
    for path in texts:
        node = _as_written(node, path)
    try:
        return model.model_validate(plain(node))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            _add(model, node, detail, findings)
        return None


def _as_written(node: Any, path: Path) -> Any:
    if not path:
        return Scalar(node.mark, node.text, node.text) if isinstance(node, Scalar) and node.value is not None else node
    if not isinstance(node, Map):
        return node
    first, rest = path[0], path[1:]
    entries = {e.key: Entry(e.key, e.mark, _as_written(e.node, rest)) if first in ("*", e.key) else e for e in node}
    return Map(node.mark, entries, node.tag)


def _add(model: type[BaseModel], root: Node, detail: ErrorDetails, findings: Findings) -> None:
    path = _existing(root, detail["loc"])
    where = ".".join(str(p) for p in path)
    name = str(detail["loc"][-1]) if detail["loc"] else ""
    message = detail["msg"].removeprefix("Value error, ")
    match detail["type"]:
        case "extra_forbidden":
            known = names_at(schema_of(model), tuple(path[:-1]))
            text = f'unknown key "{name}"' + (f" in {'.'.join(map(str, path[:-1]))}" if len(path) > 1 else "")
            findings.add("E0412", locate(root, path, key=True), text, suggestion=did_you_mean(name, known))
        case "missing":
            text = f'"{name}" is missing' + (f" in {where}" if where else "")
            findings.add("E0411", locate(root, path, key=True), text)
        case "string_type":
            hint = f'write it in quotes: "{detail["input"]}"' if isinstance(detail["input"], (int, float)) else ""
            findings.add("E0413", locate(root, path), f"{where} wants a text", hint=hint)
        case kind if kind.endswith("_type"):
            said = f"wants {WANTED[kind]}" if kind in WANTED else _small(message)
            findings.add("E0413", locate(root, path), f"{where}: {said}" if where else said)
        case "literal_error":
            wanted = str(detail.get("ctx", {}).get("expected", ""))
            close = did_you_mean(str(detail["input"]), [w.strip(" '") for w in wanted.replace(" or ", ",").split(",")])
            findings.add("E0414", locate(root, path), f"{where} wants {wanted}", suggestion=close)
        case "string_pattern_mismatch":
            in_key = bool(detail["loc"]) and detail["loc"][-1] == "[key]"
            text = f"{str(detail['input'])[:60]!r} cannot stand here"
            pattern = str(detail.get("ctx", {}).get("pattern", ""))
            hint = PATTERNS.get(pattern, f"it must match {pattern}")
            place = locate(root, (*path, str(detail["input"])) if in_key else path, key=in_key)
            findings.add("E0414", place, f"{where}: {text}" if where else text, hint=hint)
        case _:
            message = _bound(detail) or message
            findings.add("E0414", locate(root, path), f"{where}: {_small(message)}" if where else _small(message))


def _existing(root: Node, loc: tuple[int | str, ...]) -> Path:
    """The parts of a model's path that exist in the file; names of union members and the like are left out."""
    out: list[int | str] = []
    node: Node | None = root
    for part in loc:
        match node:
            case Map(entries=entries) if str(part) in entries:
                node = entries[str(part)].node
            case Seq(items=items) if isinstance(part, int) and part < len(items):
                node = items[part]
            case _:
                continue
        out.append(part)
    return tuple(out)


def _bound(detail: ErrorDetails) -> str:
    """A bound that was passed, in words; nothing for other faults."""
    limits = detail.get("ctx", {})
    match detail["type"]:
        case "greater_than_equal":
            return f"at least {limits['ge']}"
        case "less_than_equal":
            return f"at most {limits['le']}"
        case "string_too_long":
            return f"at most {limits['max_length']} characters"
        case "too_long":
            return f"at most {limits['max_length']} entries"
    return ""


def _small(message: str) -> str:
    return message[:1].lower() + message[1:]
