"""Row 76: an old backup of the server is restored. Devices are ahead of it; it learns that, and goes above."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from typing import Any

from server_process_support import DeviceUnderTest, ServerUnderTest, wait_until

from fleet_release.trust.ceremony import TrustDirectory


def apply(server: ServerUnderTest, report_every_s: int) -> None:
    fleet = {
        "name": "lab", "select": {"site": "lab"}, "run": [{"app": "cam", "version": "1.9.0"}],
        "settings": {"report_every_s": report_every_s},
    }  # fmt: skip
    server.api("POST", "/v1/apply", server.api("POST", "/v1/plan", {"fleets": [fleet]}))


def newest(device: DeviceUnderTest) -> tuple[int, str, dict[str, Any]]:
    told, envelope = max(device.desired, key=lambda d: int(d[0]["generation"]))
    payload = base64.b64decode(json.loads(envelope)["payload"])
    assert hashlib.sha256(payload).hexdigest() == told["sha256"]
    return int(told["generation"]), told["sha256"], json.loads(payload)


def test_threat_76_after_an_old_backup_the_next_document_is_newer_to_the_device(
    server: ServerUnderTest, trust: TrustDirectory
) -> None:
    device = server.enrol("cam-1")
    with device.online():
        apply(server, 30)
        wait_until(lambda: bool(device.desired), "generation 1")
    server.stop()
    shutil.copy(server.dir / "server.db", server.folder / "backup.db")
    server.start()
    for seconds in (40, 50):
        apply(server, seconds)
    with device.online():
        wait_until(lambda: any(told["generation"] == "3" for told, _ in device.desired), "generation 3")
        generation, digest, _ = newest(device)
        device.report(generation, digest)
        wait_until(lambda: server.api("GET", "/v1/devices/cam-1")["state"] == "ok", "the device to be ok")
    server.stop()
    for companion in ("server.db-wal", "server.db-shm"):
        (server.dir / companion).unlink(missing_ok=True)
    shutil.copy(server.folder / "backup.db", server.dir / "server.db")
    server.start()
    assert server.api("GET", "/v1/devices/cam-1")["desired_generation"] == 1
    device.desired.clear()
    with device.online():
        device.report(generation, digest)
        wait_until(lambda: any(told["generation"] == "4" for told, _ in device.desired), "generation 4")
        # What the restored server wants, signed above what the device has.
        assert newest(device)[2]["settings"]["report_every_s"] == 30


def test_threat_76_a_claim_beyond_all_bounds_is_not_chased(server: ServerUnderTest, trust: TrustDirectory) -> None:
    device = server.enrol("cam-1")
    with device.online():
        apply(server, 30)
        wait_until(lambda: bool(device.desired), "generation 1")
        device.report(2**53, "c" * 64)
        wait_until(lambda: server.api("GET", "/v1/devices/cam-1")["reported"] is not None, "the report")
        apply(server, 40)
        assert server.api("GET", "/v1/devices/cam-1")["desired_generation"] == 2
