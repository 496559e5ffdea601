"""Which slot a new revision of a start-first app takes, after what runs and what is desired already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_daemon.layout import Layout
from edge_daemon.prepare.placing import Built, place
from edge_daemon.prepare.revision import SealedFile
from edge_daemon.sealed import INDEX_SCHEMA, REVISION_SCHEMA
from edge_daemon.slots import A, B, named, unit
from fleet_protocol.documents.release import Release

ONE, TWO = "1" * 64, "2" * 64


def sealed(digest: str, slot: str, memory: int = 1, image: str = "one") -> dict[str, Any]:
    service = {"name": unit("web", slot), "image": image, "limits": {"memory_bytes": memory}, "runtime_sha256": "same"}
    return {
        "schema": REVISION_SCHEMA, "revision": named(digest, slot), "release": digest, "release_sha256": digest,
        "start_order": [unit("web", slot)], "services": [service], "files": {}, "strategy": "start-first",
    }  # fmt: skip


class Store:
    """Revisions and an index on a disk, and what is built of the desired release."""

    def __init__(self, state: Path) -> None:
        self.layout = Layout(state, state / "run")

    def keep(self, value: dict[str, Any]) -> str:
        folder = self.layout.revision("shop", value["revision"])
        folder.mkdir(parents=True)
        (folder / "revision.json").write_text(json.dumps(value))
        return str(value["revision"])

    def index(self, revision: str) -> None:
        path = self.layout.generation(1)
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"schema": INDEX_SCHEMA, "apps": {"shop": {"revision": revision}}}))

    def placed(self, running: str = "", strategy: str = "start-first", **built: Any) -> str:
        def build(slot: str) -> Built:
            value = sealed(TWO, slot, **built)
            return value["revision"], {"revision.json": SealedFile(json.dumps(value).encode())}

        release = Release.model_construct(app="shop", strategy=strategy)  # type: ignore[arg-type]
        return place(build, release, self.layout, {"shop": running} if running else {})[0]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.mark.parametrize(("taken", "free"), [(A, B), (B, A)])
def test_another_revision_takes_the_slot_that_is_free(store: Store, taken: str, free: str) -> None:
    running = store.keep(sealed(ONE, taken))
    assert store.placed(running, image="two") == named(TWO, free)


def test_an_app_that_does_not_run_takes_the_first(store: Store) -> None:
    assert store.placed() == named(TWO, A)


@pytest.mark.parametrize("slot", [A, B])
def test_what_runs_already_is_the_same_revision(store: Store, slot: str) -> None:
    assert store.placed(store.keep(sealed(TWO, slot))) == named(TWO, slot)


def test_what_is_desired_already_keeps_its_slot_while_the_earlier_one_still_runs(store: Store) -> None:
    running = store.keep(sealed(ONE, A))
    store.index(named(TWO, B))
    assert store.placed(running) == named(TWO, B)


@pytest.mark.parametrize("slot", [A, B])
def test_a_change_of_limits_alone_stays_where_it_runs(store: Store, slot: str) -> None:
    assert store.placed(store.keep(sealed(ONE, slot)), memory=2) == named(TWO, slot)


def test_an_app_that_is_recreated_has_one_slot(store: Store) -> None:
    assert store.placed(store.keep(sealed(ONE, A)), strategy="recreate", image="two") == named(TWO, A)
