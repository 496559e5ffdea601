"""`fleet plan` and `fleet apply`. Neither holds a release key; planning changes nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from fleet_cli.output import size, talk
from fleet_cli.session import client
from fleet_client.api import FleetClient
from fleet_protocol.wire.durable import replace_durably
from fleet_protocol.wire.errors import Exit, RoadsteadError, inert

Json = dict[str, Any]
SHOWN_DEVICES = 12

files_option = click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    default=[Path()],
    help="fleet.yaml, or a folder that holds it. May be given again.",
)


class PlanRefusedError(RoadsteadError):
    """The plan says why it cannot be applied; the sentence is the server's own."""

    phase = "planning"
    component = "server"
    code = "E0530"
    exit_status = Exit.CONFLICT

    def sentence(self) -> str:
        """As the server put it."""
        return inert(self.reason)


@click.command()
@files_option
@click.option("-o", "--output", "form", type=click.Choice(["text", "json"]), default="text")
@click.option("--exit-code", is_flag=True, help="End with 10 when something would change.")
@click.option("--save", type=click.Path(path_type=Path), help="Write the plan, for `fleet apply --plan`.")
@click.pass_context
def plan(ctx: click.Context, files: tuple[Path, ...], form: str, exit_code: bool, save: Path | None) -> int:
    """Show what applying fleet.yaml would change. Changes nothing."""
    with client(ctx) as server:
        answer = server.plan(_request(files))
    if form == "json":
        click.echo(json.dumps(answer, indent=2))
    else:
        _show(answer)
    _refuse(answer)
    if save is not None:
        replace_durably(save.absolute(), json.dumps(answer).encode(), 0o644)
        talk(f"Saved. Apply exactly this:  fleet apply --plan {save}")
    elif answer["devices"] and form == "text":
        talk("Nothing was changed.")
    return int(Exit.CHANGES_PENDING) if exit_code and answer["devices"] else 0


@click.command()
@files_option
@click.option("--plan", "saved", type=click.Path(exists=True, path_type=Path), help="Apply exactly this saved plan.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--wait", is_flag=True, help="Wait until every connected device has it.")
@click.option("--timeout", default=600, show_default=True, help="Seconds to wait.")
@click.pass_context
def apply(ctx: click.Context, files: tuple[Path, ...], saved: Path | None, yes: bool, wait: bool, timeout: int) -> int:
    """Change the fleet as planned."""
    with client(ctx) as server:
        answer = json.loads(saved.read_bytes()) if saved else server.plan(_request(files))
        _show(answer)
        _refuse(answer)
        if not yes:
            if not sys.stdin.isatty():
                raise click.UsageError("this is not a terminal: give --yes to apply without being asked")
            click.confirm("Apply", abort=True, err=True)
        applied = server.apply(answer)
        talk(f"Applied to {applied['devices']} device(s).")
        if wait:
            return _wait(server, applied["generations"], timeout)
    return 0


def _request(files: tuple[Path, ...]) -> Json:
    from fleet_release.fleet_file import load_fleets

    paths = [p / "fleet.yaml" if p.is_dir() else p for p in files]
    return {"fleets": [json.loads(spec.to_bytes()) for spec in load_fleets(paths)]}


def _refuse(answer: Json) -> None:
    refusals = answer.get("refusals")
    if not refusals:
        return
    *others, last = refusals
    for refusal in others:
        talk(f"error[{refusal['code']}] {refusal['sentence']}")
    error = PlanRefusedError(last["sentence"])
    error.code = last["code"]
    raise error


def _show(answer: Json) -> None:
    fleets = ", ".join(f["name"] for f in answer["request"]["fleets"])
    click.echo(f"fleet {fleets}: {len(answer['devices'])} device(s) change, {answer['unchanged']} stay as they are")
    groups: dict[tuple[str, ...], list[str]] = {}
    for device in answer["devices"]:
        groups.setdefault(tuple(_change(c) for c in device["changes"]), []).append(device["device_id"])
    for changes, names in groups.items():
        more = f" and {len(names) - SHOWN_DEVICES} more" if len(names) > SHOWN_DEVICES else ""
        click.echo(f"  {', '.join(names[:SHOWN_DEVICES])}{more}")
        for change in changes:
            click.echo(f"    {change}")


def _change(change: Json) -> str:
    before, after = change.get("before"), change.get("after")
    loads = f"  (download {size(change['download_bytes'])})" if change.get("download_bytes") else ""
    if before is None:
        return f"+ {change['app']} {after}{loads}"
    if after is None:
        return f"- {change['app']} {before}"
    words = f"~ {change['app']} {before} -> {after}" if before != after else f"~ {change['app']} {after}"
    return words + (" configuration" if change.get("config_changed") else "") + loads


def _wait(server: FleetClient, generations: dict[str, int], timeout: int) -> int:
    """Until each connected device runs its generation; devices that are away are named and left."""
    import time

    deadline = time.monotonic() + timeout
    last = ""
    while True:
        rows = {r["device_id"]: r for r in server.devices() if r["device_id"] in generations}
        done = [n for n, r in rows.items() if _runs(r, generations[n]) and r["state"] == "ok"]
        failed = [r for n, r in rows.items() if r["state"] == "failed"]
        away = [n for n, r in rows.items() if not r["online"] and n not in done]
        said = f"{len(done)} of {len(generations)} run it" + (f", {len(away)} away" if away else "")
        if said != last:
            talk(said)
            last = said
        if failed:
            talk("\n".join(f"  ✗ {r['device_id']}  {r['why']}" for r in failed))
            return int(Exit.ROLLOUT_FAILED)
        if len(done) + len(away) == len(generations):
            return 0
        if time.monotonic() > deadline:
            talk("\n".join(f"  {n}  {rows[n]['state']}  {rows[n]['why']}" for n in generations if n not in done))
            return int(Exit.TIMED_OUT)
        time.sleep(0.5)


def _runs(row: Json, generation: int) -> bool:
    return bool((row.get("reported") or {}).get("running_generation", 0) >= generation)
