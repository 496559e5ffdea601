"""Documents change only on purpose: `python -m fleet_protocol.schemas docs/schemas` writes these files."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from pathlib import Path

import pytest

from fleet_protocol import documents, schemas
from fleet_protocol.documents.base import Document, OpenDocument

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"


@pytest.mark.parametrize(("name", "text"), schemas.generated().items(), ids=list(schemas.generated()))
def test_the_committed_schema_is_the_generated_one(name: str, text: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == text


def test_every_document_is_exported_by_itself_or_inside_another() -> None:
    everything = "".join(schemas.generated().values())
    exported = {d.__name__ for d in schemas.DOCUMENTS}
    for module in pkgutil.iter_modules(documents.__path__):
        for name, value in inspect.getmembers(import_module(f"{documents.__name__}.{module.name}"), inspect.isclass):
            if issubclass(value, Document) and value not in (Document, OpenDocument):
                assert name in exported or f'"#/$defs/{name}"' in everything, name


def test_writing_them_changes_nothing(tmp_path: Path) -> None:
    schemas.write(tmp_path)
    assert {p.name: p.read_text(encoding="utf-8") for p in tmp_path.iterdir()} == schemas.generated()
