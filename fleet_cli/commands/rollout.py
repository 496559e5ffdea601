"""`fleet rollout`: what is being brought to the devices; to watch it and to steer it."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from fleet_cli.following import STATES, clock, follow, line, list_rollouts, verdict
from fleet_cli.output import age, output_option, talk
from fleet_cli.output import clock as moment
from fleet_cli.params import DEVICE
from fleet_cli.session import client, confirm, must_ask
from fleet_protocol.wire.errors import inert

Json = dict[str, Any]
SHOWN_WAVES = 8
reason_option = click.option("--reason", default="", help="For those who read why.")
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@click.group()
def rollout() -> None:
    """Watch a rollout, and steer it. `fleet apply` begins one."""


@rollout.command("list")
@output_option
@click.pass_context
def list_(ctx: click.Context, form: str) -> None:
    """Every rollout, newest first."""
    with client(ctx) as server:
        list_rollouts(server, form)


@rollout.command()
@click.argument("name")
@click.option("-o", "--output", "form", type=click.Choice(["text", "json"]), default="text")
@click.option("--history", is_flag=True, help="Also what was asked and decided so far.")
@click.pass_context
def status(ctx: click.Context, name: str, form: str, history: bool) -> None:
    """Waves, gates, and why devices are where they are."""
    with client(ctx) as server:
        view = server.rollout(name)
        past = server.rollout_history(name) if history else []
    if form == "json":
        click.echo(json.dumps({"apiVersion": "roadstead/v1", "kind": "Rollout", **view}, indent=2))
        return
    for text in lines(view, time.time()):
        click.echo(inert(text))
    for row in past:
        click.echo(inert(f"  {moment(row['at'])}  {row['kind']:<10} {row['element']:<16} {row['text']}"))


@rollout.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--until", type=click.Choice(["done"]), default="done", show_default=True, help="When to stop watching.")
@click.option("--strict", is_flag=True, help="End with 7 when devices are deferred, with 6 when any has failed.")
@click.option("--timeout", type=click.IntRange(min=0), help="Seconds to wait at most; then end with 7.")
@click.pass_context
def watch(ctx: click.Context, names: tuple[str, ...], until: str, strict: bool, timeout: int | None) -> int:  # noqa: ARG001 (there is one yet)
    """A line for each change, until it is done: 0 complete, 6 taken back or aborted, 7 not in time."""
    with client(ctx) as server:
        for name in names:
            server.rollout(name)  # a name that is not there is said at once
        return follow(server, names, timeout, strict=strict)


@rollout.command()
@click.argument("name")
@click.argument("device", type=DEVICE, required=False)
@click.option("-o", "--output", "form", type=click.Choice(["text", "json"]), default="text")
@click.pass_context
def why(ctx: click.Context, name: str, device: str | None, form: str) -> None:
    """Why DEVICE is where it is, down to the root cause; without DEVICE, every device's first cause."""
    with client(ctx) as server:
        found: Any = server.rollout_why(name, device) if device else server.rollout_devices(name)
    if form == "json":
        click.echo(json.dumps(found, indent=2))
    elif device:
        click.echo(inert(f"{device}  {found['phase']}  wave {found.get('wave') or '-'}"))
        for depth, cause in enumerate(found["chain"]):
            click.echo(inert(f"{'  ' * (depth + 1)}{cause['text']}"))
    else:
        for row in found:
            click.echo(inert(f"{row['device_id']:<20} {row['wave']:<12} {row['phase']:<10} {row['why']}"))


def verb(act: str, words: str, *, name: str | None = None, dangerous: bool = False) -> None:
    """One act on a whole rollout."""

    @rollout.command(name or act, help=words)
    @click.argument("rollout_id", metavar="NAME")
    @reason_option
    @yes_option
    @click.pass_context
    def command(ctx: click.Context, rollout_id: str, reason: str, yes: bool) -> None:
        ask = dangerous and must_ask(yes=yes)
        with client(ctx) as server:
            if ask:
                talk(line(server.rollout(rollout_id), time.time()))
                confirm(server, f"{act.capitalize()} {rollout_id}")
            view = server.ask_rollout(rollout_id, act, reason=reason)
        click.echo(inert(f"{rollout_id}  {line(view, time.time())}"))


verb("start", "Begin a rollout that was made with `fleet apply --no-start`.")
verb("pause", "Give it to nobody else until `resume`; what is under way goes on.")
verb("resume", "Go on after a pause. What failed until now does not stop it again.")
verb("promote", "Let the wave that is under way pass, whatever it waits for, except for approvals.")
verb("revert", "Take it back everywhere, also where devices are away, and quarantine it.", dangerous=True)
verb("retry-failed", "Give it once more to devices where it failed.")


@rollout.command()
@click.argument("name")
@click.option("--revert", is_flag=True, help="Also take it back where it is.")
@reason_option
@yes_option
@click.pass_context
def abort(ctx: click.Context, name: str, revert: bool, reason: str, yes: bool) -> None:
    """End it and quarantine the release. Where it runs it goes on, unless with --revert."""
    ask = must_ask(yes=yes)
    with client(ctx) as server:
        if ask:
            talk(line(server.rollout(name), time.time()))
            confirm(server, f"Abort {name}" + (" and take it back" if revert else ""))
        view = server.ask_rollout(name, "revert" if revert else "abort", reason=reason)
    click.echo(inert(f"{name}  {line(view, time.time())}"))


@rollout.command()
@click.argument("name")
@click.option("--wave", default="", help="Which one; default: the one that waits.")
@reason_option
@click.pass_context
def approve(ctx: click.Context, name: str, wave: str, reason: str) -> None:
    """Agree that a wave opens."""
    with client(ctx) as server:
        view = server.judge_rollout(name, approve=True, wave=wave, reason=reason)
    click.echo(inert(f"{name}  {line(view, time.time())}"))


@rollout.command()
@click.argument("name")
@click.option("--wave", default="", help="Which one; default: the one that waits.")
@reason_option
@click.pass_context
def deny(ctx: click.Context, name: str, wave: str, reason: str) -> None:
    """Do not agree: the rollout is paused."""
    with client(ctx) as server:
        view = server.judge_rollout(name, approve=False, wave=wave, reason=reason)
    click.echo(inert(f"{name}  {line(view, time.time())}"))


def verb_of_device(act: str, name: str, words: str) -> None:
    """One act on one device of a rollout."""

    @rollout.command(name, help=words)
    @click.argument("rollout_id", metavar="NAME")
    @click.argument("device", type=DEVICE)
    @reason_option
    @click.pass_context
    def command(ctx: click.Context, rollout_id: str, device: str, reason: str) -> None:
        with client(ctx) as server:
            server.ask_rollout(rollout_id, act, device_id=device, reason=reason)
            found = server.rollout_why(rollout_id, device)
        click.echo(inert(f"{device}  {found['phase']}: {found['chain'][0]['text']}"))


verb_of_device("skip-device", "skip", "Leave DEVICE out.")
verb_of_device("force-device", "force", "Give it to DEVICE now, whatever its wave, window or veto say.")
verb_of_device("hold", "hold", "Do not give it to DEVICE until `unhold`.")
verb_of_device("unhold", "unhold", "End a hold.")


def lines(view: Json, now: float) -> list[str]:
    """The text of `status`."""
    before = "/".join(view.get("before", ())) or "-"
    started = f"started {age(view['started_at'], now)} ago by {view['by']}" if view.get("started_at") else "not started"
    out = [
        f"{view['rollout_id']}  {view['app']} {before} -> {view['release']}  fleet {view.get('fleet', '-')}  {started}",
        f"{STATES[view['state']]}  {view['done']} of {view['devices']} done, {view['failed']} failed,"
        f" {view['deferred']} deferred" + (f"  {view['reason']}" if view["reason"] else ""),
        *(f"next: {c['text']}{_until(c, now)}" for c in view.get("next", ())),
        "",
        f"{'WAVE':<16} {'SIZE':>6} {'OK':>6} {'FAILED':>6} {'MOVING':>6} {'AWAY':>6}  GATE",
    ]
    for wave in view["waves"][:SHOWN_WAVES]:
        moving = wave["updating"] + wave["proving"] + wave["reverting"]
        out.append(
            f"{wave['name'][:16]:<16} {wave['size']:>6} {wave['healthy']:>6} {wave['failed']:>6} {moving:>6}"
            f" {wave['deferred']:>6}  {_gate(wave, now)}"
        )
    if len(view["waves"]) > SHOWN_WAVES:
        out.append(f"... and {len(view['waves']) - SHOWN_WAVES} more")
    for wave in view["waves"]:
        out += [f"  {wave['name']}: {g['state']:<12} {g['text']}  {g['said']}" for g in wave["gates"] if g["said"]]
    if view.get("causes"):
        out += ["", f"{'WHY':<60} {'DEVICES':>7}  EXAMPLE"]
        out += [f"{g['cause']['text'][:60]:<60} {g['devices']:>7}  {g['example']}" for g in view["causes"][:20]]
    if view["state"] in ("complete", "aborted", "reverted"):
        out += ["", verdict(view)]
    return out


def _gate(wave: Json, now: float) -> str:
    if wave["state"] == "passed":
        return f"passed {age(wave['passed_at'], now)} ago" if wave.get("passed_at") else "passed"
    soak = next((c for c in wave.get("why", ()) if c["code"] == "soak"), None)
    return f"soak ends in {clock(soak['until'] - now)}" if soak else wave["state"]


def _until(cause: Json, now: float) -> str:
    return f" (looks again in {clock(cause['until'] - now)})" if cause.get("until") and cause["until"] < 2**40 else ""
