"""Rows 8, 9, 17, 18 and 45: servers that do not end or crawl, images that reach for more, and the real one-shot."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from typing import Any

import pytest
from edge_server_support import endless, trickles
from oci_support import Layer, busybox_image, tar, text
from prepare_support import MIB, Site

from edge_daemon.prepare.errors import FetchError
from edge_daemon.prepare.fetch import download
from fleet_protocol.trust.keys import FileSigner
from provisioning.device.session import Pace, ServerClient, ServerUnreachableError


@pytest.mark.parametrize("part", ["/blobs/", "/manifests/"])
def test_an_endless_answer_is_cut_at_the_signed_size(host: Site, part: str) -> None:
    sent: list[int] = []
    host.server.faults[part] = endless(sent)
    image = busybox_image()
    refused = host.run(host.service(image)).refused
    assert refused["code"] in ("E0430", "E0100"), refused
    assert sum(sent) <= image.download_bytes + 8 * MIB  # what the sockets' buffers take beside it
    assert all(
        (host.layout.work / "partial" / n).stat().st_size <= image.download_bytes
        for n in os.listdir(host.layout.work / "partial")
    )


def test_threat_09_a_crawling_answer_ends_within_its_deadline_and_is_resumed(host: Site) -> None:
    image = busybox_image()
    layer = image.fields["layers"][0]
    host.service(image)
    host.server.faults[layer["digest"]] = trickles(1, 0.05)
    pace = Pace(min_bytes_per_s=1000, window_s=0.3, silence_s=1)
    signer = FileSigner(host.layout.device_key)
    client = ServerClient(host.server.url, "pump-3", host.server.ca_pem, signer.sign, pace=pace)
    path = host.base / "blob"
    started = time.monotonic()
    counts: list[int] = []

    def opened(offset: int) -> Any:
        return client.open_blob("apps/cam", layer["digest"], offset)

    with client, pytest.raises(ServerUnreachableError):
        download(opened, path, layer["digest"], layer["size"], report=counts.append, pause=waits_until(3))
    assert time.monotonic() - started < 10
    assert len(host.server.fetched(layer["digest"])) == 3
    kept = path.stat().st_size
    assert 0 < kept < 1000
    host.server.faults.clear()
    with client:
        download(opened, path, layer["digest"], layer["size"], report=counts.append, pause=waits_until(1))
    assert host.server.fetched(layer["digest"])[-1] == f"bytes={kept}-"
    assert path.read_bytes() == image.blobs[layer["digest"]]


def waits_until(tries: int) -> Any:
    """Instead of waiting: give up at the `tries`-th failure."""
    count = 0

    def pause(_: int) -> None:
        nonlocal count
        count += 1
        if count >= tries:
            raise ServerUnreachableError("given up", retry=False)

    return pause


def test_threat_09_a_server_that_never_answers_whole_is_given_up(host: Site) -> None:
    class Empty:
        offset = 0

        def read(self, _: int) -> bytes:
            return b""

        def close(self) -> None:
            """Nothing to close."""

    waited: list[int] = []
    with pytest.raises(FetchError, match="ends after 0 of 5 bytes"):
        download(
            lambda _: Empty(), host.base / "x", "sha256:" + "0" * 64, 5, report=lambda _: None, pause=waited.append
        )
    assert waited == [1, 2, 3, 4, 5]


def test_threat_17_hooks_mounts_devices_and_labels_of_an_image_are_not_even_read(host: Site) -> None:
    reach: dict[str, Any] = {
        "Cmd": ["/bin/sh"],
        "Volumes": {"/etc": {}, "/host": {}},
        "ExposedPorts": {"22/tcp": {}},
        "Labels": {"io.example.privileged": "true"},
        "Healthcheck": {"Test": ["CMD-SHELL", "reboot"]},
        "hooks": {"prestart": [{"path": "/bin/sh"}]},
        "Privileged": True,
        "CapAdd": ["SYS_ADMIN"],
    }
    plain = host.run(host.service(busybox_image({"Cmd": ["/bin/sh"]}))).sealed
    before = host.config()
    assert plain["generation"] == 1
    assert host.run(host.service(busybox_image(reach)), version="1.0.1").sealed
    after = host.config()
    assert after == {**before, "mounts": after["mounts"]}
    assert [m["destination"] for m in after["mounts"]] == [m["destination"] for m in before["mounts"]]
    assert "hooks" not in after
    assert "annotations" not in after


def test_threat_18_one_missing_blob_keeps_all_of_a_generation_back(host: Site) -> None:
    a = host.service(busybox_image(), "a")
    assert host.run(a).sealed["generation"] == 1
    missing = busybox_image(None, Layer(tar([text("x", "y")])))
    b = host.service(missing, "b")
    del host.server.blobs[missing.fields["layers"][1]["digest"]]
    assert "not here" in host.run(a, b, version="1.1.0").refused["reason"]
    assert os.listdir(host.layout.generations) == ["1"]
    assert len(os.listdir(host.layout.revisions / "cam")) == 1


def test_threat_45_the_store_is_roots_and_no_other_id_writes_or_lists_it(host: Site) -> None:
    assert host.run(host.service(busybox_image())).sealed
    for path in (host.layout.layers, host.layout.layers.parent, host.layout.blobs, host.layout.revisions):
        at = path.stat()
        assert (at.st_uid, stat.S_IMODE(at.st_mode) & 0o026) == (0, 0), path
    layer = host.layout.layers / host.layers()[0]
    for uid in (1_000_000 + 65536, 65534, 64998):
        become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        command = [*become, "touch", str(layer / "x"), str(layer.parent / "x")]
        tried = subprocess.run(command, capture_output=True, text=True, check=False)
        assert tried.stderr.count("Permission denied") == 2
