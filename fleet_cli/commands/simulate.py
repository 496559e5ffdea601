"""`fleet simulate`: the rollout engine over devices that are not there, in virtual time. No server is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleet_cli.output import Column, Json, table, talk
from fleet_cli.params import existing_file
from fleet_protocol.wire.errors import Exit

if TYPE_CHECKING:
    from fleet_protocol.documents.rollout import RolloutSpec
    from fleet_server.simulation.drive import Outcome

STORY = 40  # lines at most


@click.command()
@click.argument("file", type=existing_file, required=False)
@click.option("--fleet", "fleet_name", metavar="NAME", help="Which fleet of FILE, when it holds several.")
@click.option("--scenario", metavar="NAME", help="One of those that --list names; without it all of them, as a table.")
@click.option("--devices", type=click.IntRange(1, 200_000), default=2000, show_default=True, help="How many.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Another one is another story.")
@click.option("--list", "listing", is_flag=True, help="Name the scenarios and stop.")
@click.option("-o", "--output", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def simulate(
    file: Path | None, fleet_name: str | None, scenario: str | None, devices: int, seed: int, listing: bool, form: str
) -> int:
    """Play a rollout over thousands of devices that are not there, with links and faults as a scenario says.

    FILE is a fleet.yaml whose `rollout` and `window` are tried; without it a usual rollout is. With --scenario the exit
    status is that of the rollout: 0 when it completes, 6 when it does not.
    """
    from fleet_server.simulation.drive import simulate as play
    from fleet_server.simulation.scenarios import SCENARIOS, by_name

    if listing:
        _print([{"name": s.name, "text": s.text} for s in SCENARIOS], (("SCENARIO", "name"), ("WHAT", "text")), form)
        return 0
    spec = _spec(file, fleet_name)
    if scenario is None:
        rows = [{"scenario": s.name, **_numbers(play(spec, s.mix, devices, seed))} for s in SCENARIOS]
        _print(rows, COLUMNS, form)
        return 0
    try:
        chosen = by_name(scenario)
    except KeyError:
        known = ", ".join(s.name for s in SCENARIOS)
        raise click.BadParameter(f"{scenario!r} is none of {known}", param_hint="--scenario") from None
    outcome = play(spec, chosen.mix, devices, seed)
    if form == "json":
        body = {"scenario": chosen.name, **_numbers(outcome), "rollout": outcome.view.model_dump(mode="json")}
        click.echo(json.dumps(body, indent=2))
    else:
        _tell(chosen.text, outcome)
    return 0 if outcome.state == "complete" else int(Exit.ROLLOUT_FAILED)


COLUMNS = (
    ("SCENARIO", "scenario"), ("ENDS", "state"), ("AFTER", "after"), ("TOLD", "told"), ("FAILED", "failed"),
    ("AWAY", "deferred"), ("ON NEW", "left_on_new"), ("WHY", "reason"),
)  # fmt: skip


def _spec(file: Path | None, name: str | None) -> RolloutSpec:
    from fleet_server.simulation.scenarios import USUAL

    if file is None:
        return USUAL
    from fleet_release.fleet_file import load_fleets

    fleets = load_fleets([file])
    chosen = [f for f in fleets if name is None or f.name == name]
    if len(chosen) != 1:
        raise click.UsageError(f"{file} holds {', '.join(f.name for f in fleets) or 'no fleet'}; name one by --fleet")
    return chosen[0].rollout


def _numbers(outcome: Outcome) -> Json:
    return {
        "state": outcome.state,
        "after": _span(outcome.took_s),
        "took_s": outcome.took_s,
        "devices": outcome.devices,
        "told": outcome.told,
        "done": outcome.done,
        "failed": outcome.failed,
        "deferred": outcome.deferred,
        "left_on_new": outcome.left_on_new,
        "most_in_a_minute": outcome.most_in_a_minute,
        "reason": outcome.reason,
    }


def _tell(text: str, outcome: Outcome) -> None:
    click.echo(f"{text}; {outcome.devices} devices")
    for moment in outcome.story[:STORY]:
        click.echo(f"  {_span(moment.after_s):>8}  {moment.text}")
    if len(outcome.story) > STORY:
        click.echo(f"  and {len(outcome.story) - STORY} more")
    shown = [w.model_dump() for w in outcome.view.waves]
    names = ("name", "state", "size", "healthy", "failed", "inconclusive", "deferred", "reverted", "left_out")
    table([_column(n.upper().replace("_", " "), n) for n in names], shown)
    for group in outcome.view.causes[:8]:
        click.echo(f"  {group.devices:>6}  {group.cause.text}   ({group.example})")
    talk(
        f"{outcome.state} after {_span(outcome.took_s)}: {outcome.told} told, {outcome.left_on_new} on the new release,"
        f" {outcome.deferred} away, at most {outcome.most_in_a_minute} in a minute"
    )


def _print(rows: list[dict[str, Any]], columns: tuple[tuple[str, str], ...], form: str) -> None:
    if form == "json":
        click.echo(json.dumps(rows, indent=2))
    else:
        table([_column(title, key) for title, key in columns], rows)


def _column(title: str, key: str) -> Column:
    return Column(title, lambda row: str(row[key]))


def _span(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    return f"{hours}h{rest // 60:02d}m" if hours else f"{rest // 60}m{rest % 60:02d}s"
