"""Pages by name: title, body, the line above it, what is read for it, and where `enter` leads. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tui.model.causes import cause_of
from tui.model.history import Place
from tui.model.line import EMPTY, Line
from tui.model.rows import DeviceRow
from tui.model.world import World
from tui.pages import device, devices, lists, overview, rollout, rollouts
from tui.pages.body import Body, View

Make = Callable[[World, View, int, int], Body]
Says = Callable[[World, View, int], Line]


def _nothing(_world: World, _view: View, _width: int) -> Line:
    return EMPTY


class Spec(NamedTuple):
    """One page; `help` and `contexts` are made by the program, which knows what they need."""

    title: str
    body: Make
    status: Says = _nothing


SPECS: dict[str, Spec] = {
    "overview": Spec("Overview", overview.body),
    "devices": Spec("Devices", devices.body, devices.status),
    "device": Spec("Devices", device.body, device.status),
    "rollouts": Spec("Rollouts", rollouts.body),
    "rollout": Spec("Rollouts", rollout.body),
    "events": Spec("Events", lists.events, lists.events_status),
    "fleets": Spec("Fleets", lists.fleets),
    "enrolments": Spec("Enrolments", lists.enrolments),
    "raw": Spec("Raw", lists.raw),
}
TITLES = {**{name: spec.title for name, spec in SPECS.items()}, "contexts": "Contexts", "help": "Keys"}
LISTED = frozenset({"overview", "devices", "rollouts", "events", "fleets", "enrolments", "contexts", "rollout"})


def narrowed(about: str) -> tuple[Callable[[DeviceRow], bool] | None, str]:
    """The filter that a list of devices is opened with, and how it is called: `cause STATE REASON`, `fleet NAME`."""
    kind, _, rest = about.partition(" ")
    match kind:
        case "cause":
            state, _, reason = rest.partition(" ")
            return (lambda row: cause_of(row) == (state, reason)), f"cause: {reason.replace('#', '…')}"
        case "fleet":
            return (lambda row: rest in row.fleets.split(", ")), f"fleet {rest}"
        case _:
            return None, ""


def crumb(place: Place, world: World) -> str:
    """What the page is about, for the top bar."""
    if place.page == "rollout":
        found = world.find_rollout(place.about)
        return found.title if found else place.about
    return "" if place.page in ("devices", "help") else place.about


def leads_to(page: str, key: str) -> Place | None:
    """Where `enter` goes; None: it does something else there."""
    kind, _, rest = key.partition(" ")
    match page, kind:
        case "overview", "cause" | "fleet":
            return Place("devices", key)
        case "overview", "rollout":
            return Place("rollout", rest)
        case "overview", "enrolments":
            return Place("enrolments")
        case "overview", "faults":
            return Place("devices")
        case (("devices" | "events"), _):
            return Place("device", key)
        case "fleets", _:
            return Place("devices", f"fleet {key}")
        case "rollouts", _:
            return Place("rollout", key)
        case "rollout", "device":
            return Place("device", rest)
        case _:
            return None
