"""`post_start` and `pre_stop` of a compose file: one command each becomes a hook of the release."""

from __future__ import annotations

import shlex
from typing import Any

from fleet_release.compose import keys
from fleet_release.compose.model import ComposeService
from fleet_release.compose.read import Reader
from fleet_release.yaml_tree import Map, Node, Scalar

USUAL_S = 5


def read_hooks(node: Map, service: ComposeService, reader: Reader) -> None:
    """Put what is there into the service's fields; what a hook cannot do here is a finding."""
    found: dict[str, Any] = {}
    for name in ("post_start", "pre_stop"):
        items = reader.items(node.get(name), name)
        for second in items[1:]:
            text = f"{name} has one command here: put several into a script of the image"
            reader.findings.add("E0414", second.mark, text)
        for item in items[:1]:
            if command := _command(item, name, reader):
                # within the grace period, as compose's own hooks are
                least = min(USUAL_S, max(1, service.fields.get("stop_grace_s", 10) - 1))
                found[name] = {"exec_args": command, "timeout_s": least if name == "pre_stop" else USUAL_S}
                service.marks["hooks", name] = item.mark
    if found:
        service.put("hooks", found, node.mark)


def _command(item: Node, name: str, reader: Reader) -> list[str]:
    hook = reader.mapping(item, name)
    if hook is None:
        return []
    reader.keys(hook, keys.HOOK, name)
    place = hook.get("command")
    if place is None:
        reader.findings.add("E0411", item.mark, f'"command" is missing in {name}')
        return []
    if not isinstance(place, Scalar):
        return [text for text, _ in reader.strings(place, f"{name}.command")]
    try:
        return shlex.split(reader.text(place, f"{name}.command") or "")
    except ValueError as error:
        reader.findings.add("E0414", place.mark, f"{name}.command cannot be split: {str(error).lower()}")
        return []
