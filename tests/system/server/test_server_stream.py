"""The stream over real TLS: counters, causes, a window that follows, resume, slow readers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from server_process_support import DeviceUnderTest, ServerUnderTest, running_server, wait_until
from sse_support import Screen

from fleet_protocol.documents.stream import Causes, Counters, Fleets, Hello, WindowRows

APP = {"app": "gw", "state": "ok", "release": "1.9.0"}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerUnderTest]:
    with running_server() as made:
        made.make_trust("gw")
        yield made


@pytest.fixture(scope="module")
def devices(server: ServerUnderTest) -> Iterator[list[DeviceUnderTest]]:
    made = [server.enrol(f"st-{n}", labels={"site": "lyon" if n < 2 else "oslo"}) for n in range(3)]
    with made[0].online(), made[1].online(), made[2].online():
        for device in made:
            device.report(apps=[APP])
        wait_until(lambda: server.api("GET", "/v1/devices?where=state%3Dok")["total"] == 3, "the reports")
        yield made


def test_a_screen_is_told_what_it_shows_and_every_message_is_its_document(
    server: ServerUnderTest, devices: list[DeviceUnderTest]
) -> None:
    with Screen(server, sort="name", count=2) as screen:
        Hello.from_value(screen.hello)
        window = screen.until("window")
        assert (window["full"], window["matching"], screen.shown()) == (True, 3, ["st-0 ok", "st-1 ok"])
        kinds = dict(screen.told)
        assert Counters.from_value(kinds["counters"]).states == {"ok": 3}
        assert Causes.from_value(kinds["causes"]).causes == ()
        assert Fleets.from_value(kinds["fleets"]).fleets == ()
        WindowRows.from_value(window)


def test_a_change_on_a_device_comes_alone_within_seconds(
    server: ServerUnderTest, devices: list[DeviceUnderTest]
) -> None:
    with Screen(server, sort="name") as screen:
        screen.until("window", full=True)
        begun = time.monotonic()
        devices[1].report(apps=[{**APP, "state": "failed", "why": "gw ended 3 times"}])
        while screen.rows["st-1"]["state"] != "failed":
            window = screen.until("window", full=False)
        assert time.monotonic() - begun < 10
        assert "order" not in window
        assert {row["device_id"] for row in window["rows"]} < {"st-0", "st-1", "st-2"}
        cause = screen.until("causes", devices=1)["causes"][0]
        assert (cause["state"], cause["code"], cause["app"], cause["label"]) == (
            "failed",
            "failed",
            "gw@1.9.0",
            "site=lyon",
        )
        devices[1].report(apps=[APP])
        screen.until("causes", devices=0)
        assert screen.shown() == ["st-0 ok", "st-1 ok", "st-2 ok"]


def test_filter_order_and_place_are_the_servers_and_the_window_moves(
    server: ServerUnderTest, devices: list[DeviceUnderTest]
) -> None:
    with Screen(server, where="site=lyon", sort="-name", count=1) as screen:
        assert (screen.until("window")["matching"], screen.order) == (2, ["st-1"])
        path = f"/v1/streams/{screen.hello['stream']}/window"
        server.api("PUT", path, {"where": "site=lyon", "sort": "-name", "offset": 1, "count": 5}, status=204)
        assert (screen.until("window", full=False)["offset"], screen.order) == (1, ["st-0"])
        server.api("PUT", path, {"where": "state=failed", "marked": ["st-2"]}, status=204)
        window = screen.until("window", matching=0)
        assert ([row["device_id"] for row in window["marked"]], screen.order) == (["st-2"], [])
        devices[0].report(apps=[{**APP, "state": "failed"}])
        screen.until("window", matching=1)
        assert screen.shown() == ["st-0 failed"]
        devices[0].report(apps=[APP])
        screen.until("window", matching=0)
        assert server.api("PUT", path, {"where": "x="}, status=400)["code"] == "E0110"
        server.api("PUT", "/v1/streams/nosuch/window", {}, status=404)


def test_who_comes_back_is_told_what_changed_meanwhile_and_no_more(
    server: ServerUnderTest, devices: list[DeviceUnderTest]
) -> None:
    with Screen(server, sort="name") as screen:
        screen.until("window")
        rows, order, last = screen.rows, screen.order, screen.last
    devices[2].report(apps=[{**APP, "release": "2.0.0"}])
    wait_until(lambda: server.api("GET", "/v1/devices?where=gw%3D2.0.0")["total"] == 1, "the report")
    with Screen(server, sort="name", last=last) as screen:
        assert screen.hello["resumed"] is True
        screen.rows, screen.order = dict(rows), order
        window = screen.until("window")
        assert (window["full"], "order" in window) == (False, False)
        assert "st-2" in {row["device_id"] for row in window["rows"]}
        assert screen.rows["st-2"]["apps"] == {"gw": "2.0.0"}
    # Another window, another server's run, or nonsense: all of it anew.
    for mark in (last.replace(last[:4], "0000"), "x" * 100, "a.b.c", f"{last[:12]}.{9**15}.zz"):
        with Screen(server, sort="name", last=mark) as screen:
            assert screen.hello["resumed"] is False
            assert screen.until("window")["full"] is True


def test_a_scoped_screen_counts_and_shows_its_scope_alone(
    server: ServerUnderTest, devices: list[DeviceUnderTest]
) -> None:
    asked = {"name": "lyon-screen", "scope": {"site": "lyon"}}
    token = server.api("POST", "/v1/api-tokens", asked)["token"]
    with Screen(server, token, marked="st-2", sort="name") as screen:
        window = screen.until("window")
        assert (window["matching"], window["marked"], screen.order) == (2, [], ["st-0", "st-1"])
        assert dict(screen.told)["counters"]["devices"] == 2
        path = f"/v1/streams/{screen.hello['stream']}/window"
        server.api("PUT", path, {"marked": ["st-2"]}, status=404)  # another's stream is nobody's
        server.api("PUT", path, {"where": "!site=lyon", "marked": ["st-2"]}, status=204, token=token)
        assert screen.until("window", matching=0)["marked"] == []


def test_a_screen_that_does_not_read_holds_nothing_up_and_no_more_than_ten_open_at_once(
    server: ServerUnderTest, devices: list[DeviceUnderTest]
) -> None:
    deaf = [Screen(server, sort="name") for _ in range(10)]
    try:
        refused = server.http("GET", "/v1/stream")
        assert (refused[0], b"too many streams" in refused[2]) == (429, True)
        for screen in deaf:
            screen.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(20):
            devices[0].report(apps=[APP])
        assert server.api("GET", "/v1/devices")["total"] == 3
    finally:
        for screen in deaf:
            screen.__exit__(None, None, None)
    wait_until(lambda: server.http("GET", "/v1/stream?count=501")[0] == 400, "an answer")
    with Screen(server) as screen:
        screen.until("window", full=True)


def test_the_server_ends_quickly_though_screens_look(server: ServerUnderTest) -> None:
    with Screen(server) as screen:
        screen.until("window")

        def read_and_hang_up() -> None:
            while screen.answer.readline():
                pass
            screen.connection.close()

        reading = threading.Thread(target=read_and_hang_up)
        reading.start()
        begun = time.monotonic()
        assert server.server is not None
        assert server.server.end() == 0
        assert time.monotonic() - begun < 8
        reading.join()
        server.start_server()
        server.wait_connected()
