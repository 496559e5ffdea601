"""Every page at three sizes, in every condition, against text files beside this one; colours for each skin.

A difference is a change of what an operator sees. To accept it: `TUI_PICTURES=write pytest tests/unit/tui`, and look at
the difference of the files.
"""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from tui_support import NOW, SimulatedMachine, a_rollout, a_server, an_app, an_enrolment

from tui.model.world import Remembered
from tui.term.app import FleetApp

PICTURES = Path(__file__).parent / "pictures"
SIZES = ((80, 24), (120, 40), (200, 60))
KEYS = {
    "overview": "0", "devices": "1", "device": "enter", "rollouts": "2", "rollout": "enter", "events": "3",
    "fleets": "4", "enrolments": "5", "keys": "question_mark",
}  # fmt: skip
CONDITIONS = ("data", "stale", "empty", "loading", "error")
SKINS = ("dark", "ansi", "deuteranopia", "mono")


def screen_text(app: FleetApp) -> list[str]:
    return [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]


def coloured(app: FleetApp) -> list[str]:
    """Each line as `<style>text`, so that a skin can be read."""
    out = []
    for strip in app.screen._compositor.render_strips():
        parts = [f"<{s.style}>{s.text}" for s in strip if s.text.strip()]
        out.append("".join(parts))
    return out


def compare(name: str, lines: list[str]) -> None:
    path = PICTURES / f"{name}.txt"
    text = "\n".join(lines) + "\n"
    if os.environ.get("TUI_PICTURES") == "write":
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    assert path.read_text().split("\n") == text.split("\n")


async def until(pilot: Pilot[Any], true: Any) -> None:
    """Wait on a state, not on a time."""
    for _ in range(400):
        if true():
            await pilot.pause()
            return
        await pilot.pause(0.01)
    raise AssertionError("it never came to that")


def a_machine(condition: str) -> SimulatedMachine:
    if condition == "empty":
        server = a_server(0, fleets=[], enrolments=[], rollouts=[])
    else:
        server = a_server(
            60,
            rollouts=[
                a_rollout(),
                a_rollout(
                    rollout_id="r-1",
                    app="vision",
                    state="reverted",
                    reason="2.1 % failed, over 2 %",
                    ended_at=NOW - 7300,
                ),
            ],
        )
    if condition in ("loading", "error"):
        server.slow = threading.Event() if condition == "loading" else None
        server.refuse()
    machine = SimulatedMachine(lab=server, prod=a_server(3))
    if condition == "loading":
        machine.memory["lab"] = Remembered(NOW - 3000, {"ok": 57, "failed": 3})
    return machine


async def settle(app: FleetApp, pilot: Pilot[Any], machine: SimulatedMachine, condition: str) -> None:
    if condition == "loading":
        return
    await until(pilot, lambda: app.world.link.phase == "lost" if condition == "error" else app.world.loaded)
    if condition == "stale":
        await pilot.press("1", "down", "down", "down", "enter", "0")
        await until(pilot, lambda: bool(app.world.details))
        machine.time += 95
        machine.servers["lab"].vanish()
        await until(pilot, lambda: app.world.link.phase == "lost")


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("condition", CONDITIONS)
def test_pages_look_as_they_did(condition: str, size: tuple[int, int], zone: None) -> None:
    async def story() -> None:
        machine = a_machine(condition)
        app = an_app(machine)
        async with app.run_test(size=size) as pilot:
            await settle(app, pilot, machine, condition)
            for page, key in KEYS.items():
                if page == "device" and condition != "empty":
                    await pilot.press("home", "down", "down", "down")
                await pilot.press(key)
                if page == "device" and condition == "data":
                    await until(pilot, lambda: app.history.here.about in app.world.details)
                await pilot.pause()
                compare(f"{condition}-{size[0]}x{size[1]}/{page}", screen_text(app))
            if (slow := machine.servers["lab"].slow) is not None:
                slow.set()

    asyncio.run(story())


@pytest.mark.parametrize("skin", SKINS)
def test_skins_look_as_they_did(skin: str, zone: None) -> None:
    async def story() -> None:
        machine = a_machine("data")
        app = an_app(machine, skin=skin)
        async with app.run_test(size=(80, 24)) as pilot:
            await settle(app, pilot, machine, "data")
            for page, keys in (("overview", "0"), ("devices", "1"), ("rollout", "2 enter")):
                await pilot.press(*keys.split())
                await pilot.pause()
                compare(f"{skin}/{page}", coloured(app))
            machine.servers["lab"].vanish()
            await until(pilot, lambda: app.world.link.phase == "lost")
            compare(f"{skin}/lost", coloured(app))

    asyncio.run(story())


def test_ascii_alone_tells_states_apart(zone: None) -> None:
    async def story() -> None:
        machine = a_machine("data")
        app = an_app(machine, skin="mono", ascii_only=True)
        async with app.run_test(size=(80, 24)) as pilot:
            await settle(app, pilot, machine, "data")
            for page, keys in (("overview", "0"), ("devices", "1"), ("rollout", "2 enter"), ("abort", "A")):
                await pilot.press(*keys.split())
                await pilot.pause()
                lines = screen_text(app)
                assert "".join(lines).isascii(), [line for line in lines if not line.isascii()]
                compare(f"ascii/{page}", lines)

    asyncio.run(story())


def test_dialogs_look_as_they_did(zone: None) -> None:
    async def story() -> None:
        machine = a_machine("data")
        machine.servers["lab"].enrolments.append(an_enrolment(7, requested_name="pi-seven"))
        app = an_app(machine)
        async with app.run_test(size=(80, 24)) as pilot:
            await settle(app, pilot, machine, "data")
            for name, keys in (
                ("approve", "5 ctrl+a Y"), ("reject", "N"), ("decommission", "1 D"), ("pause", "2 enter p"),
                ("promote", "n"), ("abort", "A"),
            ):  # fmt: skip
                await pilot.press(*keys.split())
                await pilot.pause()
                compare(f"dialogs/{name}", screen_text(app))
                await pilot.press("escape")

    asyncio.run(story())
