"""`fleet plan` and `fleet apply`. Neither holds a release key; planning changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from fleet_cli.errors import LocalFileError
from fleet_cli.following import follow
from fleet_cli.output import size, talk
from fleet_cli.params import existing_file
from fleet_cli.session import client, confirm, must_ask
from fleet_client.api import FleetClient
from fleet_protocol.wire.durable import replace_durably
from fleet_protocol.wire.errors import DocumentInvalidError, Exit, RoadsteadError, UnreachableError, inert

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
@click.option(
    "--save", type=click.Path(dir_okay=False, path_type=Path), help="Write the plan, for `fleet apply --plan`."
)
@click.pass_context
def plan(ctx: click.Context, files: tuple[Path, ...], form: str, exit_code: bool, save: Path | None) -> int:
    """Show what applying fleet.yaml would change. Changes nothing."""
    with client(ctx) as server:
        answer = server.plan(_request(files))
    if form == "json":
        click.echo(json.dumps(answer, indent=2))
    _refuse(answer)
    if form == "text":
        _show(answer)
    if save is not None:
        try:
            replace_durably(save.absolute(), json.dumps(answer).encode(), 0o644)
        except OSError as error:
            raise LocalFileError.from_os(error, save) from error
        talk(f"Saved. Apply exactly this:  fleet apply --plan {save}")
    elif answer["devices"] and form == "text":
        talk("Nothing was changed.")
    return int(Exit.CHANGES_PENDING) if exit_code and answer["devices"] else 0


@click.command()
@files_option
@click.option("--plan", "saved", type=existing_file, help="Apply exactly this saved plan.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--wait", is_flag=True, help="Wait until the rollouts that it begins have ended.")
@click.option("--timeout", type=click.IntRange(min=0), default=600, show_default=True, help="Seconds to wait.")
@click.option("--start/--no-start", default=True, help="Begin now, or when somebody says `fleet rollout start`.")
@click.pass_context
def apply(
    ctx: click.Context,
    files: tuple[Path, ...],
    saved: Path | None,
    yes: bool,
    wait: bool,
    timeout: int,
    start: bool,
) -> int:
    """Change the fleet as planned: begins a rollout for each app that changes."""
    ask = must_ask(yes=yes)
    with client(ctx) as server:
        answer = _saved(saved) if saved else server.plan(_request(files))
        _refuse(answer)
        _show(answer)
        if ask:
            confirm(server, "Apply")
        applied = server.apply(answer, start=start)
        talk(f"Applied to {applied['devices']} device(s).")
        for name in applied["rollouts"]:
            talk(f"  fleet rollout {'watch' if start else 'start'} {name}")
        if wait and applied["rollouts"]:
            return follow(server, applied["rollouts"], timeout, strict=False)
        if wait:
            return _wait(server, applied["generations"], timeout)
    return 0


def _saved(path: Path) -> Json:
    """A plan that `fleet plan --save` wrote."""
    from fleet_protocol.documents.fleet import Plan

    try:
        Plan.parse(data := path.read_bytes())
    except DocumentInvalidError as error:
        raise DocumentInvalidError(
            f"this is not a saved plan: {error.reason}", element=str(path), hint="fleet plan --save FILE"
        ) from error
    return dict(json.loads(data))


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
    if not answer["devices"] and not answer["unchanged"]:
        talk("No enrolled device has the labels that `select` wants: see  fleet get devices -o wide")
    groups: dict[tuple[str, ...], list[str]] = {}
    for device in answer["devices"]:
        groups.setdefault(tuple(_change(c) for c in device["changes"]), []).append(device["device_id"])
    for changes, names in groups.items():
        more = f" and {len(names) - SHOWN_DEVICES} more" if len(names) > SHOWN_DEVICES else ""
        click.echo(inert(f"  {', '.join(names[:SHOWN_DEVICES])}{more}"))
        for change in changes:
            click.echo(inert(f"    {change}"))
    for rollout in answer.get("rollouts", ()):
        for line in _rollout(rollout):
            click.echo(inert(line))


def _rollout(planned: Json) -> list[str]:
    """How a change would reach its devices."""
    before = "/".join(planned.get("before", ())) or "-"
    waves = [f"{w['name']} {w['devices']}" for w in planned["waves"] if w["devices"]]
    if planned.get("joins"):
        head = f"rollout {planned['rollout_id']} takes {planned['devices']} more device(s)"
    else:
        head = f"rollout {planned['rollout_id']}: {planned['devices']} device(s), {len(waves)} wave(s)"
    out = [f"{head}  {planned['app']} {before} -> {planned['version']}  {_expected(planned)}"]
    if len(waves) > 1:
        out.append(f"  waves      {', '.join(waves)}")
    out.append(f"  download   {size(planned['download_bytes'])} in all, {size(planned['disk_bytes'])} of disk")
    if planned.get("window"):
        out.append(f"  window     {planned['window']}")
    reasons: dict[str, list[str]] = {}
    for one in planned.get("blocked", ()):
        reasons.setdefault(one["cause"]["text"], []).append(one["device_id"])
    for text, names in list(reasons.items())[:SHOWN_DEVICES]:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        out.append(f"  ! {', '.join(names[:3])}{more}: {text}")
    return out


def _expected(planned: Json) -> str:
    seconds = planned.get("expected_s")
    if seconds is None:
        return "it waits for people or windows"
    if seconds < 90:
        return f"about {seconds} s"
    return f"about {round(seconds / 60)} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


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
    rows: list[Json] = []
    last = ""
    while True:
        try:
            rows = [r for r in server.devices() if r["device_id"] in generations]
            status, said = _progress(rows, generations)
        except UnreachableError as error:
            # What was applied is stored, and the hosts go on with it: the server may come back.
            status, said = None, f"{error.sentence()}; waiting for it"
        if said != last:
            talk(said)
            last = said
        if status is not None:
            return int(status)
        if time.monotonic() > deadline:
            late = [r for r in rows if not _done(r, generations[r["device_id"]])]
            talk("\n".join(f"  {r['device_id']}  {r['state']}  {r['why']}" for r in late))
            talk(f"{timeout} s have passed; the hosts go on with it.")
            return int(Exit.TIMED_OUT)
        time.sleep(0.5)


def _progress(rows: list[Json], generations: dict[str, int]) -> tuple[Exit | None, str]:
    """How it ended, or None while it goes on; and what to say."""
    done = [r for r in rows if _done(r, generations[r["device_id"]])]
    away = [r for r in rows if not r["online"] and r not in done]
    said = f"{len(done)} of {len(rows)} run it" + (f", {len(away)} away" if away else "")
    failed = [r for r in rows if _failed(r, generations[r["device_id"]])]
    if failed:
        lines = [said, *(f"  ✗ {r['device_id']}  {r['why']}" for r in failed)]
        return Exit.ROLLOUT_FAILED, "\n".join(lines)
    return (Exit.OK if len(done) + len(away) == len(rows) else None), said


def _done(row: Json, generation: int) -> bool:
    return bool(row["state"] == "ok" and (row.get("reported") or {}).get("running_generation", 0) >= generation)


def _failed(row: Json, generation: int) -> bool:
    """Not while it is what ran before that failed: this change may be the cure."""
    reported = row.get("reported") or {}
    refusal = reported.get("refusal") or {}
    refused = bool(refusal) and (refusal.get("generation") or generation) >= generation
    return bool(row["state"] == "failed" and (refused or reported.get("generation", 0) >= generation))
