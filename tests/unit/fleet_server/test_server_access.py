"""The table of who may use what, and what the start makes of a gap in it."""

from __future__ import annotations

import pytest
from fastapi import APIRouter, Request, Response

from fleet_server.errors import SetupError
from fleet_server.http import access
from fleet_server.http.access import ROUTES, Access, Party, Reach, allows, within
from fleet_server.http.app import ROUTERS, check, make_app, routes_of
from fleet_server.http.gate import FleetRoute
from fleet_server.services import Services
from fleet_server.store.records import ROLES


async def nothing(_request: Request) -> Response:
    raise AssertionError


def test_every_route_has_its_line_and_every_line_its_route() -> None:
    assert access.faults(routes_of(ROUTERS)) == []


def test_the_server_does_not_start_with_a_route_that_has_no_line() -> None:
    extra = APIRouter(route_class=FleetRoute)
    extra.add_api_route("/v1/surprise", nothing, methods=["POST"])
    with pytest.raises(SetupError, match="POST /v1/surprise has no line"):
        make_app(Services.__new__(Services), routers=(*ROUTERS, extra))


def test_the_server_does_not_start_with_a_route_beside_the_door() -> None:
    extra = APIRouter()
    extra.add_api_route("/healthz", nothing)
    with pytest.raises(SetupError, match="not behind the door"):
        check((*ROUTERS, extra))


def test_the_server_does_not_start_with_a_line_too_many() -> None:
    with pytest.raises(SetupError, match="is no route"):
        check(ROUTERS[1:])


@pytest.mark.parametrize("role", ROLES)
def test_a_scoped_token_gets_to_no_route_about_the_whole_fleet(role: access.Role) -> None:
    whole = [line for line in ROUTES.values() if line.reach is Reach.WHOLE]
    assert whole
    assert all(allows(line, role, {"site": "lyon"}) for line in whole)


@pytest.mark.parametrize(
    ("line", "role", "scope", "said"),
    [
        (Access("viewer"), "viewer", {}, None),
        (Access("operator"), "viewer", {}, "it takes the role operator"),
        (Access("operator"), "admin", {}, None),
        (Access("installer"), "operator", {}, None),
        (Access("operator"), "installer", {}, "it takes the role operator"),
        (Access("releaser"), "operator", {}, "it takes the role releaser"),
        (Access("approver"), "operator", {}, "it takes the role approver"),
        (Access("viewer"), None, {}, "it takes the role viewer"),
        (Access(Party.DEVICE), "admin", {}, "only a device may ask for this"),
        (Access(Party.EITHER), "viewer", {}, None),
        (Access("viewer", Reach.SCOPED), "viewer", {"site": "lyon"}, None),
        (
            Access("viewer", Reach.WHOLE), "viewer", {"site": "lyon"},
            "it concerns the whole fleet, and this token is for a part of it",
        ),
    ],
)  # fmt: skip
def test_what_a_line_means(line: Access, role: access.Role | None, scope: dict[str, str], said: str | None) -> None:
    assert allows(line, role, scope) == said


def test_a_scope_wants_all_of_its_labels() -> None:
    assert within({}, {})
    assert within({"site": "lyon"}, {"site": "lyon", "role": "cam"})
    assert not within({"site": "lyon", "role": "cam"}, {"site": "lyon"})
    assert not within({"site": "lyon"}, {"site": "oslo"})


def test_head_is_as_get_and_what_is_not_there_is_for_nobody() -> None:
    assert access.rule("HEAD", "/v2/") == ROUTES["GET", "/v2/"]
    assert access.rule("GET", "/v1/surprise") is None
