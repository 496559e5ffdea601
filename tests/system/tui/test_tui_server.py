"""The terminal UI on a real server: what it shows, what it changes, and what it does when the server goes away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from server_process_support import ServerUnderTest, wait_until
from textual.pilot import Pilot

from fleet_protocol.wire.words import words
from tui.main import LocalMachine
from tui.term.app import FleetApp
from tui.term.sheet import Look


async def until(pilot: Pilot[Any], true: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, screen(pilot)
        await pilot.pause(0.02)
    await pilot.pause()


def screen(pilot: Pilot[Any]) -> str:
    return "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips())


def play(machine: LocalMachine, story: Any, size: tuple[int, int] = (100, 30)) -> None:
    async def run() -> None:
        app = FleetApp(machine, machine.server(""), Look(), fps=20)
        async with app.run_test(size=size) as pilot:
            await story(app, pilot)

    asyncio.run(run())


def test_a_host_is_approved_by_its_words_and_appears(server: ServerUnderTest, machine: LocalMachine) -> None:
    asked = server.ask_to_enrol("attic-1", ec.generate_private_key(ec.SECP256R1()))
    shown_on_the_host = words(asked["fingerprint"])

    async def story(_app: FleetApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: "1 host asks to be let in" in screen(pilot))
        await pilot.press("5")
        await until(pilot, lambda: shown_on_the_host in screen(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: f"fleet enroll approve {asked['request_id']}" in screen(pilot))
        assert shown_on_the_host in screen(pilot)
        await pilot.press("y")
        await until(pilot, lambda: "approved attic-1" in screen(pilot))
        await pilot.press("1")
        await until(pilot, lambda: "attic-1" in screen(pilot) and "enrolled, never" in screen(pilot))

    play(machine, story)
    with server.client() as client:
        assert [row["status"] for row in client.enrolments()] == ["approved"]


def test_what_a_device_says_is_shown_with_its_reason_and_as_text(
    server: ServerUnderTest, machine: LocalMachine
) -> None:
    device = server.enrol("cam-1")
    with device.online():
        app = {"app": "cam", "state": "failed", "why": "no way [bold]x[/]", "release": "1.0.0"}
        device.report(0, apps=[app])

        async def story(_app: FleetApp, pilot: Pilot[Any]) -> None:
            await until(pilot, lambda: "NEEDS ATTENTION" in screen(pilot) and "cam: no" in screen(pilot))
            await pilot.press("1", "slash", *"cam-", "enter", "enter")
            await until(pilot, lambda: "SERVICES" in screen(pilot) or "cam 1.0.0" in screen(pilot))
            shown = screen(pilot)
            assert "[bold]x[/]" in shown
            assert "✗ failed" in shown
            assert all(c.isprintable() for c in shown.replace("\n", ""))

        play(machine, story)


def test_the_screen_survives_its_server_and_goes_on_within_two_seconds(
    server: ServerUnderTest, machine: LocalMachine
) -> None:
    server.enrol("porch-1")

    async def story(app: FleetApp, pilot: Pilot[Any]) -> None:
        await pilot.press("1")
        await until(pilot, lambda: "porch-1" in screen(pilot))
        assert server.server is not None
        await asyncio.to_thread(server.server.end, 9)
        await until(pilot, lambda: "SERVER UNREACHABLE" in screen(pilot))
        shown = screen(pilot)
        assert "porch-1" in shown
        assert "read-only" in shown
        await pilot.press("D")
        assert len(app.screen_stack) == 1
        await pilot.press("colon", *"ctx", "enter")
        await until(pilot, lambda: f"https://localhost:{server.port}" in screen(pilot))
        await pilot.press("escape", "1")
        await asyncio.to_thread(server.start_server)
        began = time.monotonic()
        await until(pilot, lambda: "● live" in screen(pilot) and "UNREACHABLE" not in screen(pilot))
        assert time.monotonic() - began <= 2.0

    play(machine, story)
    wait_until(lambda: bool(server.api("GET", "/v1/status")["broker"]["connected"]), "the server's broker link")


def test_a_device_is_taken_out_only_when_its_name_is_typed(server: ServerUnderTest, machine: LocalMachine) -> None:
    server.enrol("shed-1")

    async def story(app: FleetApp, pilot: Pilot[Any]) -> None:
        await pilot.press("1", "slash", *"shed", "enter")
        await until(pilot, lambda: app.sheet.key == "shed-1")
        await pilot.press("D", *"shed", "enter")
        assert len(app.screen_stack) == 2
        await pilot.press(*"shed-1", "enter")
        await until(pilot, lambda: "shed-1 is out of the fleet" in screen(pilot))
        await until(pilot, lambda: "shed-1" not in app.world.roster.rows)

    play(machine, story)
    with server.client() as client:
        left = client.devices()
    assert "shed-1" not in {row["device_id"] for row in left}
    assert sum(machine.remembered("lab").counts.values()) == len(left)
