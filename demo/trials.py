"""What `./dev demo --check` plays beyond the story: outage, reboot, refusals. Each asserts what the host did."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

from demo import machine
from demo.machine import EDGES, RUN, STATE
from demo.steps import (
    SERVER_DIR,
    WORK,
    Step,
    devices,
    fleet,
    fleet_result,
    image_flags,
    page,
    server_run,
    service_of,
    start_broker,
    start_edge,
    wait_for,
)


def outage() -> str:
    """Broker and server dead, the daemon killed and started again: the containers never notice."""
    before = pids(EDGES[0])
    machine.stop("broker", signal.SIGKILL)
    machine.stop("server", signal.SIGKILL)
    machine.stop(EDGES[0], signal.SIGKILL)
    assert page(EDGES[0]), "the app stopped answering when the daemon was killed"
    start_edge(EDGES[0])
    wait_for("the daemon to adopt what runs", lambda: local(EDGES[0]) == before)
    return f"same processes before and after: {', '.join(f'{k} {v}' for k, v in sorted(before.items()))}"


def reboot() -> str:
    """All containers of one host gone, no network, the clock at 1970: the last good revisions run again."""
    edge = EDGES[1]
    machine.stop(edge, signal.SIGKILL)
    power_off(edge)
    assert not page(edge)
    start_edge(edge, prefix=("faketime", "1970-01-02 00:00:00"))
    wait_for("the app to run again", lambda: page(edge), 30)
    return f"{edge} serves again with its clock at 1970 and nobody to ask"


def power_off(edge: str) -> None:
    """What a reboot does: every process gone, the run directory empty. The disk stays."""
    machine.remove_containers(edge)
    shutil.rmtree(RUN / edge / "containers", ignore_errors=True)


def back_online() -> str:
    """Broker and server return: everybody connects, and every spooled event arrives once."""
    start_broker()
    server_run()
    wait_for("three hosts to be back", lambda: sum(d["online"] for d in devices().values()) == len(EDGES), 90)
    wait_for("the events to arrive", lambda: all(_complete(e) for e in EDGES), 30)
    return ", ".join(f"{e}: events 1 to {max(_seqs(e))}, none missing, none twice" for e in EDGES)


def _complete(edge: str) -> bool:
    seqs = _seqs(edge)
    if len(seqs) != len(set(seqs)):
        raise AssertionError(f"{edge}: an event was stored twice")
    return bool(seqs) and sorted(seqs) == list(range(1, max(seqs) + 1)) and _spool_empty(edge)


def _seqs(edge: str) -> list[int]:
    text = fleet("get", "events", "--device", edge, "--limit", "1000", "-o", "json")
    return [event["seq"] for event in json.loads(text)["items"]]


def _spool_empty(edge: str) -> bool:
    return int(status(edge)["outbox"]) == 0


def undeclared() -> str:
    """A fleet sets a value that the release did not declare: refused before anything is sent."""
    path = WORK / "fleet.yaml"
    good = path.read_text()
    path.write_text(good.replace('SITE: "{label.site}"', "COLOUR: blue"))
    result = fleet_result("plan")
    path.write_text(good)
    assert result.returncode == 5, f"status {result.returncode}: {result.stderr}"
    assert "COLOUR" in result.stderr
    return result.stderr.strip().splitlines()[-1]


def bad_release() -> str:
    """A release whose service crashes: it stops at the first host, goes back there without a person, and is barred."""
    texts = {name: (WORK / name).read_text() for name in ("app.yaml", "fleet.yaml", "compose.yaml")}
    before = {edge: local(edge) for edge in EDGES}
    policy = "rollout: {waves: [{name: canary, devices: 1}, rest], stopAt: 0%, onFail: revert}\n"
    (WORK / "app.yaml").write_text(texts["app.yaml"].replace("version: 1.0.0", "version: 0.9.9"))
    (WORK / "fleet.yaml").write_text(texts["fleet.yaml"].replace("shop@1.0.0", "shop@0.9.9") + policy)
    crash = '    entrypoint: [/bin/busybox, sh, -c, "exit 7"]\n    depends_on:\n'
    (WORK / "compose.yaml").write_text(texts["compose.yaml"].replace("    depends_on:\n", crash))
    fleet("release", "-f", "app.yaml", *image_flags())
    fleet("apply", "--yes")
    rollout = json.loads(fleet("rollout", "list", "-o", "json"))["items"][0]["rollout_id"]
    watched = fleet_result("rollout", "watch", rollout, "--until", "done", "--timeout", "60")
    assert watched.returncode == 6, f"status {watched.returncode}: {watched.stdout}{watched.stderr}"
    told = [edge for edge, row in devices().items() if row["desired_generation"] > 1]
    assert len(told) == 1, f"more than the canary was told: {told}"
    wait_for("the canary to run 1.0.0 again", lambda: page(told[0]) and devices()[told[0]]["state"] == "ok", 30)
    others = {edge: local(edge) for edge in EDGES if edge not in told}
    assert others == {edge: before[edge] for edge in others}, f"another host was touched: {before} {others}"
    for name, text in texts.items():
        (WORK / name).write_text(text)
    return watched.stdout.strip()


def tampered() -> str:
    """A new release whose layer was changed on the server's disk: each host refuses it, the old one goes on."""
    before = pids(EDGES[0])
    compose = WORK / "compose.yaml"
    for path, old, new in (
        (WORK / "app.yaml", "version: 1.0.0", "version: 1.0.1"),
        (WORK / "fleet.yaml", "shop@1.0.0", "shop@1.0.1"),
    ):
        text = path.read_text()
        assert old in text, f"{path} lacks {old}"
        path.write_text(text.replace(old, new))
    compose.write_text(compose.read_text().replace("GREETING: ahoy", "GREETING: welcome"))
    from demo.images import build_images

    shutil.rmtree(WORK / "images")
    build_images(WORK, motto="a new layer")
    known = set(_blobs())
    fleet("release", "-f", "app.yaml", *image_flags())
    fresh = sorted(set(_blobs()) - known, key=lambda p: p.stat().st_size)
    layer = fresh[-1]
    genuine = layer.read_bytes()
    layer.write_bytes(bytes([genuine[0], genuine[1] ^ 0xFF]) + genuine[2:])
    fleet("apply", "--yes")
    wait_for("the hosts to refuse", lambda: all(_refusal(row) for row in devices().values()), 60)
    said = _refusal(devices()[EDGES[0]])
    assert pids(EDGES[0]) == before, "what ran before was touched"
    layer.write_bytes(genuine)
    return str(said)


def withdrawn() -> str:
    """The engineer takes the release back; every connected host stops it within a minute, and nothing else."""
    fleet("withdraw", "shop@1.0.0", "--effect", "stop", "--reason", "demo", "--yes")
    wait_for("the hosts to stop it", lambda: not any(page(edge) for edge in EDGES), 60)
    said = wait_for("the hosts to say so", lambda: _stopped(devices()[EDGES[0]]), 30)
    return str(said)


def _stopped(row: dict[str, Any]) -> str:
    apps = row["reported"].get("apps", ())
    return next((str(app["why"]) for app in apps if app["app"] == "shop" and app["state"] == "stopped"), "")


def _refusal(row: dict[str, Any]) -> str:
    refusal = row["reported"].get("refusal")
    return str(refusal["sentence"]) if refusal else ""


def _blobs() -> list[Path]:
    return [p for p in (SERVER_DIR / "blobs").rglob("*") if p.is_file()]


def pids(edge: str) -> dict[str, int]:
    """Service -> process, as reported to the server."""
    return {s: int(service_of(devices()[edge], s)["pid"]) for s in ("web", "visitor")}


def local(edge: str) -> dict[str, int]:
    """Service -> process, as the host's own daemon says without any server."""
    apps = status(edge)["reported"].get("apps", ())
    return {s["name"]: s["pid"] for a in apps for s in a["services"] if s.get("pid")}


def status(edge: str) -> dict[str, Any]:
    """`edge-daemon status -o json`."""
    from demo.steps import BIN

    command = [str(BIN / "edge-daemon"), "status", "--run-dir", str(RUN / edge), "--state-dir", str(STATE / edge)]
    return dict(json.loads(machine.run(*command, "-o", "json", check=False) or '{"outbox": -1, "reported": {}}'))


STORY = (
    Step("broker, server and a daemon are killed; the containers go on", outage),
    Step("a host reboots without network, its clock at 1970", reboot),
    Step("all return; the spooled events arrive", back_online),
    Step("a value that the release did not declare is refused", undeclared),
    Step("a release that crashes stops at the first host and is taken back: fleet rollout watch", bad_release),
    Step("a tampered image is refused by every host", tampered),
    Step("a release that is withdrawn with effect: stop is stopped by every host", withdrawn),
)
