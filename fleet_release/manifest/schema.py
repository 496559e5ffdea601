"""JSON Schemas (draft-07, which editors understand) of app.yaml and fleet.yaml, made from the models that read them."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from pydantic import BaseModel

from fleet_release.manifest.app_file import AppFile
from fleet_release.manifest.fleet_models import FleetFile

DRAFT = "http://json-schema.org/draft-07/schema#"
KINDS: dict[str, type[BaseModel]] = {"app": AppFile, "fleet": FleetFile}


def export_schema(kind: str) -> str:
    """The schema of `app` or `fleet` as the text that is published. Raises KeyError for another kind."""
    return json.dumps(schema_of(KINDS[kind]), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


@cache
def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """As draft-07: `definitions` in place of `$defs`."""
    made = model.model_json_schema(by_alias=True, mode="validation")
    renamed: dict[str, Any] = _renamed(made)
    return {"$schema": DRAFT, **renamed}


def names_at(schema: dict[str, Any], path: tuple[str | int, ...]) -> tuple[str, ...]:
    """The keys that a mapping at `path` may have, for suggestions."""
    here = [schema]
    for part in path:
        here = [n for s in here for n in _step(schema, s, part)]
    return tuple(name for s in here for o in _options(schema, s) for name in o.get("properties", {}))


def _step(root: dict[str, Any], schema: dict[str, Any], part: str | int) -> list[dict[str, Any]]:
    out = []
    for option in _options(root, schema):
        if isinstance(part, int):
            found = option.get("items")
        else:
            found = option.get("properties", {}).get(part, option.get("additionalProperties"))
            found = found or next(iter(option.get("patternProperties", {}).values()), None)
        if isinstance(found, dict):
            out.append(found)
    return out


def _options(root: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    """`schema` with references and alternatives followed."""
    if (reference := schema.get("$ref")) is not None:
        return _options(root, root["definitions"][reference.rsplit("/", 1)[1]])
    alternatives = [*schema.get("anyOf", ()), *schema.get("allOf", ())]
    return [schema, *(o for a in alternatives for o in _options(root, a))]


def _renamed(value: Any) -> Any:
    if isinstance(value, dict):
        return {"definitions" if k == "$defs" else k: _renamed(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_renamed(v) for v in value]
    return value.replace("#/$defs/", "#/definitions/") if isinstance(value, str) else value
