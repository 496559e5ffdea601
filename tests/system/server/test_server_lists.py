"""Lists of the real application: filters, orders, pages and what they keep to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from app_support import NOW, App, an_app
from server_support import a_contact, an_event, enrol

from fleet_protocol.documents.stream import Page
from fleet_server.store.records import Contact, EventBatch, Ingested


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with an_app(tmp_path_factory.mktemp("lists")) as made:
        for n in range(7):
            enrol(made.services.store, f"cam-{n}", labels={"site": "lyon" if n < 4 else "oslo", "n": str(n)})
            made.services.board.touch([f"cam-{n}"])
            events = tuple(an_event(k, severity="warn" if k == 2 else "info") for k in (1, 2, 3))
            batch = EventBatch(f"cam-{n}", "0123456789abcdef", events)
            made.services.store.ingest(Ingested(NOW, (Contact(f"cam-{n}", NOW, online=True),), (), (batch,)))
        yield made


def pages(app: App, path: str, token: str = "") -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    cursor = ""
    while True:
        answer = app.ask("GET", path + cursor, token=token)
        assert answer.status_code == 200, answer.text
        page = Page.parse(answer.content)
        assert page.api_version == "roadstead/v1"
        out += page.items
        if page.next is None:
            return out
        cursor = f"&cursor={page.next}"


def test_devices_are_filtered_sorted_and_cut_into_pages_by_the_server(app: App) -> None:
    found = pages(app, "/v1/devices?where=site%3Dlyon&sort=-n&limit=3")
    assert [row["device_id"] for row in found] == ["cam-3", "cam-2", "cam-1", "cam-0"]
    assert app.ask("GET", "/v1/devices?where=site%3Dlyon&limit=3").json()["total"] == 4
    full = pages(app, "/v1/devices?where=cam-2&view=full")
    assert (full[0]["device_id"], full[0]["certificate_expires"] > 0, "reported" in full[0]) == ("cam-2", True, True)


def test_what_a_device_says_is_in_the_next_list(app: App) -> None:
    app.services.store.ingest(a_contact("cam-6", last_seen=NOW - 1))
    app.services.board.touch(["cam-6"])
    assert pages(app, "/v1/devices?where=name%3Dcam-6")[0]["last_seen"] == NOW
    app.services.store.set_labels("cam-6", {"site": "paris"})
    app.services.board.touch(["cam-6"])
    assert [r["device_id"] for r in pages(app, "/v1/devices?where=site%3Dparis")] == ["cam-6"]
    app.services.store.set_labels("cam-6", {"site": "oslo"})
    app.services.board.touch(["cam-6"])


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/devices?where=site%3D", "a value is wanted"),
        ("/v1/devices?sort=,", "is no field to sort by"),
        ("/v1/devices?cursor=zzz", "the cursor cannot be read"),
        ("/v1/devices?limit=1001", "less than or equal to 1000"),
        ("/v1/events?cursor=5&after=5", "exclude each other"),
        ("/v1/fleets?where=!", "a word or FIELD=VALUE is wanted"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(app: App, path: str, words: str) -> None:
    answer = app.ask("GET", path)
    assert (answer.status_code, words in answer.json()["cause"]) == (400, True)


def test_events_are_paged_back_and_followed_forth(app: App) -> None:
    back = pages(app, "/v1/events?limit=4&where=severity%3Dwarn")
    assert [(e["device_id"], e["seq"]) for e in back] == [(f"cam-{n}", 2) for n in range(6, -1, -1)]
    assert [e["device_id"] for e in pages(app, "/v1/events?limit=9&where=site%3Doslo%20seq%3D1")] == [
        "cam-6", "cam-5", "cam-4"
    ]  # fmt: skip
    newest = back[0]["number"]
    followed = app.ask("GET", f"/v1/events?after={newest}").json()
    assert [e["seq"] for e in followed["items"]] == [3]
    nothing = app.ask("GET", f"/v1/events?after={followed['next']}").json()
    assert (nothing["items"], nothing["next"]) == ([], followed["next"])


def test_fleets_are_listed_by_name(app: App) -> None:
    fleets = [{"name": name, "select": {"site": site}, "run": []} for name, site in (("b", "lyon"), ("a", "oslo"))]
    planned = app.ask("POST", "/v1/plan", {"fleets": fleets}).json()
    assert app.ask("POST", "/v1/apply", planned).status_code == 200
    assert [f["name"] for f in pages(app, "/v1/fleets?limit=1")] == ["a", "b"]
    assert [f["name"] for f in pages(app, "/v1/fleets?where=site%3Dlyon")] == ["b"]
    assert [r["fleets"] for r in pages(app, "/v1/devices?where=fleet%3Da&limit=1")] == [["a"]] * 3


def test_a_scoped_reader_is_told_of_the_scope_alone(app: App) -> None:
    token = app.token_for("oslo", scope={"site": "oslo"})
    assert len(pages(app, "/v1/devices?limit=2", token)) == 3
    assert app.ask("GET", "/v1/devices?where=site%3Dlyon", token=token).json()["total"] == 0
    assert {e["device_id"] for e in pages(app, "/v1/events?limit=2", token)} == {"cam-4", "cam-5", "cam-6"}


def test_a_device_falls_overdue_by_time_alone(tmp_path: Path) -> None:
    with an_app(tmp_path) as app:
        enrol(app.services.store)
        app.services.store.ingest(a_contact("cam-1", last_seen=NOW))
        app.now = NOW + 100.0
        assert pages(app, "/v1/devices?limit=9")[0]["state"] == "unknown"
        app.now = NOW + 181.0
        row = pages(app, "/v1/devices?limit=9")[0]
        assert (row["state"], row["code"], row["since"]) == ("OVERDUE", "overdue", NOW + 180)
