"""`python -m fleet_server.bench`: what one core does for a fleet. Real store on disk, real signatures, no network.

The broker and the MQTT client are not in these figures; what is measured begins with a message's bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fleet_protocol.documents.device import Event, Events, Reported, ReportedApp, ReportedService
from fleet_protocol.documents.fleet import FleetSpec, PlanRequest
from fleet_protocol.documents.release import Release
from fleet_protocol.trust.keys import FileSigner, generate_ed25519
from fleet_server import look
from fleet_server.controller.controller import Controller
from fleet_server.controller.desk import Desk
from fleet_server.director import Director
from fleet_server.mqtt import intake as intake_module
from fleet_server.mqtt.intake import Incoming, Intake
from fleet_server.mqtt.queue import DesiredQueue
from fleet_server.plan_world import AppId, ReleaseFacts
from fleet_server.store.api import Store
from fleet_server.store.sqlite import open_store
from provisioning.authority.records import DeviceRecord, EnrolmentRecord, TokenRecord

BATCH = 500
SPOOL = "0123456789abcdef"


def main() -> None:
    """Prints one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--dir", type=Path, help="where the store lies meanwhile (default: a temporary directory)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="roadstead-bench-", dir=options.dir) as folder:
        store = open_store(Path(folder) / "server.db")
        try:
            for name, figure, unit in measure(store, Path(folder), options.devices):
                print(f"{name:<52} {figure:>12,.2f} {unit}")
        finally:
            store.close()


def measure(store: Store, folder: Path, count: int) -> Iterator[tuple[str, float, str]]:
    """(what, how much, unit)."""
    names = [f"dev-{n:05d}" for n in range(count)]
    took = _timed(lambda: _enrol(store, names))
    yield f"enrol {count} devices in the store", took, "s"
    intake_module.MESSAGES_PER_S, intake_module.BURST = 1e9, 10**9  # one device stands for many here
    queue = DesiredQueue(per_second=1e9, burst=10**9)
    intake = Intake(store, queue, lambda _claims, _now: None)

    single = [_events(name, 1, 1) for name in names]
    yield "events, one a message", count / _timed(lambda: _feed(intake, single)), "events/s"
    full = [_events(name, 2, 100) for name in names[: max(1, count // 20)]]
    yield "events, a hundred a message", 100 * len(full) / _timed(lambda: _feed(intake, full)), "events/s"
    reports = [_report(name) for name in names]
    yield (
        f"reported states of {len(reports[0].payload)} bytes",
        count / _timed(lambda: _feed(intake, reports)),
        "messages/s",
    )

    generate_ed25519(folder / "director.key")
    director = Director(store, FileSigner(folder / "director.key"), _releases, queue.put)
    desk = Desk(Controller(store, director, _releases))
    fleet = FleetSpec.from_value(
        {
            "name": "all", "select_all": True, "run": [{"app": "cam", "version": "1.0.0"}],
            "config": {"cam": {"SITE": "{label.site}"}},
        }
    )  # fmt: skip
    request = PlanRequest(fleets=(fleet,))
    yield f"plan for {count} devices", _timed(lambda: director.plan(request)), "s"
    plan = director.plan(request)
    yield (
        f"apply to {count} devices (plan again, sign, store)",
        _timed(lambda: desk.apply(plan, "bench", int(time.time()))),
        "s",
    )
    yield f"plan for {count} devices when nothing changes", _timed(lambda: director.plan(request)), "s"
    yield f"view of {count} devices", _timed(lambda: [v.model_dump_json() for v in look.all_devices(store, 1)]), "s"


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _feed(intake: Intake, messages: Sequence[Incoming]) -> None:
    now = time.time()
    for start in range(0, len(messages), BATCH):
        intake.take(messages[start : start + BATCH], now)


def _enrol(store: Store, names: Sequence[str]) -> None:
    with store.transaction():
        store.add_token(TokenRecord("benchtoken", "", {}, len(names), len(names), 0, 2**40, True, None))
        for n, name in enumerate(names):
            labels = {"site": f"site-{n % 100}"}
            key = hashlib.sha256(name.encode()).hexdigest()
            request = EnrolmentRecord(f"req{n:08d}", "benchtoken", "pending", name, key, "", labels, 0)
            store.admit(request, 1)
            store.approve(request.request_id, DeviceRecord(name, labels, key, "", "", n + 1, 2**40, 0), "bench")


def _events(name: str, first: int, count: int) -> Incoming:
    events = tuple(
        Event(seq=n, at=1, kind="app.started", app="cam", service="web", text="started 1.0.0 in 42 ms")
        for n in range(first, first + count)
    )
    data = Events(device_id=name, spool=SPOOL, events=events).to_bytes()
    return Incoming(f"roadstead/v1/devices/{name}/events", data)


def _report(name: str) -> Incoming:
    service = ReportedService(name="web", state="running", pid=4242, started_at=1, image="sha256:" + "a" * 64)
    app = ReportedApp(app="cam", state="ok", release="1.0.0", revision="a" * 64, services=(service,))
    report = Reported(device_id=name, boot_id="b" * 36, at=1, daemon_version="0.1.0", apps=(app,))
    return Incoming(f"roadstead/v1/devices/{name}/reported", report.to_bytes())


def _releases() -> dict[AppId, ReleaseFacts]:
    image = {"manifest": "sha256:" + "a" * 64, "manifest_size": 500, "download_bytes": 9, "unpacked_bytes": 9}
    service = {
        "name": "web", "images": {"linux/amd64": image},
        "limits": {"memory_bytes": 64 << 20, "cpu_millis": 500, "pids": 32},
    }  # fmt: skip
    release = Release.from_value(
        {
            "app": "cam", "version": "1.0.0", "release_counter": 1, "services": [service],
            "config": {"SITE": {"service": "web", "env": "SITE", "pattern": "[a-z0-9-]{1,32}"}},
        }
    )  # fmt: skip
    return {("cam", "1.0.0"): ReleaseFacts(release, "b" * 64)}


if __name__ == "__main__":
    main()
