"""The OCI distribution API: skopeo pushes and pulls, ranges resume, and what is ambiguous is refused."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from server_process_support import ServerUnderTest

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def push(server: ServerUnderTest, data: bytes, app: str = "cam") -> str:
    status, headers, body = server.http("POST", f"/v2/apps/{app}/blobs/uploads/?digest={digest(data)}", data)
    assert status == 201, body
    assert headers["docker-content-digest"] == digest(data)
    return digest(data)


def a_layout(folder: Path) -> tuple[Path, bytes]:
    """A small OCI layout made by hand, and its manifest."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def keep(data: bytes, kind: str) -> dict[str, object]:
        (blobs / hashlib.sha256(data).hexdigest()).write_bytes(data)
        return {"mediaType": kind, "digest": digest(data), "size": len(data)}

    layer = os.urandom(3_000_000)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": keep(config, "application/vnd.oci.image.config.v1+json"),
            "layers": [keep(layer, "application/vnd.oci.image.layer.v1.tar")],
        }
    ).encode()
    named = {**keep(manifest, MANIFEST), "annotations": {"org.opencontainers.image.ref.name": "1.0"}}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder, manifest


def skopeo(server: ServerUnderTest, *arguments: str) -> None:
    certificates = server.folder / "skopeo-certs"
    certificates.mkdir(exist_ok=True)
    (certificates / "ca.crt").write_bytes((server.dir / "ca/ca.pem").read_bytes())
    done = subprocess.run(["skopeo", "--insecure-policy", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_skopeo_copies_a_layout_in_and_out_again(server: ServerUnderTest, tmp_path: Path) -> None:
    layout, manifest = a_layout(tmp_path / "in")
    there = f"docker://localhost:{server.port}/apps/cam:1.0"
    certs, creds = str(server.folder / "skopeo-certs"), f"any:{server.token}"
    skopeo(
        server,
        "copy",
        "--preserve-digests",
        "--dest-cert-dir",
        certs,
        "--dest-creds",
        creds,
        f"oci:{layout}:1.0",
        there,
    )
    assert server.api("GET", "/v2/apps/cam/tags/list") == {"name": "apps/cam", "tags": ["1.0"]}
    status, headers, body = server.http("GET", "/v2/apps/cam/manifests/1.0")
    assert (status, headers["content-type"], body) == (200, MANIFEST, manifest)
    assert headers["docker-content-digest"] == digest(manifest)
    skopeo(
        server,
        "copy",
        "--preserve-digests",
        "--src-cert-dir",
        certs,
        "--src-creds",
        creds,
        there,
        f"oci:{tmp_path / 'out'}:1.0",
    )
    copied = json.loads((tmp_path / "out/index.json").read_text())["manifests"][0]["digest"]
    assert copied == digest(manifest)


def test_a_blob_comes_whole_or_from_any_byte_on(server: ServerUnderTest) -> None:
    data = os.urandom(200_000)
    path = f"/v2/apps/cam/blobs/{push(server, data)}"
    token = server.enrol("img-1").session()
    assert server.http("GET", path, token=token)[2] == data
    status, headers, _ = server.http("HEAD", path, token=token)
    assert (status, headers["content-length"], headers["accept-ranges"]) == (200, "200000", "bytes")
    status, headers, body = server.http("GET", path, headers={"Range": "bytes=150000-"}, token=token)
    assert (status, headers["content-range"], body) == (206, "bytes 150000-199999/200000", data[150_000:])
    status, _, body = server.http("GET", path, headers={"Range": "bytes=10-19"}, token=token)
    assert (status, body) == (206, data[10:20])
    status, headers, _ = server.http("GET", path, headers={"Range": "bytes=200000-"}, token=token)
    assert (status, headers["content-range"]) == (416, "bytes */200000")


def test_an_upload_in_chunks_is_checked_and_resumes(server: ServerUnderTest) -> None:
    data = os.urandom(100_000)
    status, headers, _ = server.http("POST", "/v2/apps/cam/blobs/uploads/")
    assert status == 202
    place = headers["location"]
    first = server.http("PATCH", place, data[:60_000], {"Content-Range": "0-59999"})
    assert (first[0], first[1]["range"]) == (202, "0-59999")
    wrong = server.http("PATCH", place, data[70_000:], {"Content-Range": "70000-99999"})
    assert (wrong[0], wrong[1]["range"]) == (416, "0-59999")
    assert server.http("GET", place)[1]["range"] == "0-59999"
    assert server.http("GET", f"/v2/apps/cam/blobs/{digest(data)}")[0] == 404
    done = server.http("PUT", f"{place}?digest={digest(data)}", data[60_000:])
    assert done[0] == 201
    assert server.http("GET", f"/v2/apps/cam/blobs/{digest(data)}")[2] == data
    assert server.http("PATCH", place, b"more")[0] == 404


def test_an_upload_with_another_digest_leaves_nothing(server: ServerUnderTest) -> None:
    before = sorted(p.name for p in (server.dir / "blobs").rglob("*"))
    status, _, body = server.http("POST", f"/v2/apps/cam/blobs/uploads/?digest={digest(b'this')}", b"that")
    assert (status, digest(b"that") in json.loads(body)["cause"]) == (400, True)
    assert sorted(p.name for p in (server.dir / "blobs").rglob("*")) == before
    _, headers, _ = server.http("POST", "/v2/apps/cam/blobs/uploads/")
    assert server.http("DELETE", headers["location"])[0] == 204
    assert sorted(p.name for p in (server.dir / "blobs").rglob("*")) == before


def test_a_blob_that_is_there_is_mounted_and_stored_once(server: ServerUnderTest) -> None:
    pushed = push(server, b"shared", "cam")
    status, headers, _ = server.http("POST", f"/v2/apps/gw/blobs/uploads/?mount={pushed}&from=apps/cam")
    assert (status, headers["location"]) == (201, f"/v2/apps/gw/blobs/{pushed}")
    status, _, _ = server.http("POST", f"/v2/apps/gw/blobs/uploads/?mount={digest(b'nowhere')}&from=apps/cam")
    assert status == 202
    assert len(list((server.dir / "blobs/sha256").glob(pushed.removeprefix("sha256:")))) == 1


def descriptor(pushed: str, **over: object) -> dict[str, object]:
    return {"mediaType": "application/octet-stream", "digest": pushed, "size": 1, **over}


@pytest.mark.parametrize(
    ("kind", "change", "reason"),
    [
        (MANIFEST, {"manifests": []}, "an index and an image manifest at once"),
        (INDEX, {}, "calls itself"),
        (MANIFEST, {"mediaType": INDEX}, "calls itself"),
        ("application/json", {"mediaType": "application/json"}, "is not taken"),
        (MANIFEST, {"schemaVersion": 1}, "schemaVersion 2"),
        (MANIFEST, {"layers": [{"digest": "sha256:../../x", "size": 1}]}, "without a sha256 digest"),
        (MANIFEST, {"layers": [{"digest": digest(b"?"), "size": -1}]}, "without a size"),
        (MANIFEST, {"layers": [{"digest": digest(b"?"), "size": 1, "urls": ["https://x"]}]}, "leads elsewhere"),
        (MANIFEST, {"layers": [{"digest": digest(b"not pushed"), "size": 1}]}, "which was not pushed"),
    ],
)
def test_a_manifest_that_can_be_read_in_two_ways_or_lacks_parts_is_refused(
    server: ServerUnderTest, kind: str, change: dict[str, object], reason: str
) -> None:
    part = push(server, b"part")
    value = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(part),
        "layers": [descriptor(part)],
        **change,
    }
    data = json.dumps(value).encode()
    status, _, body = server.http("PUT", "/v2/apps/cam/manifests/odd", data, {"Content-Type": kind})
    assert status == 400
    assert reason in json.loads(body)["cause"]
    assert json.loads(body)["errors"][0]["code"] == "MANIFEST_INVALID"
    assert server.http("GET", "/v2/apps/cam/manifests/odd")[0] == 404


def test_a_manifest_with_a_key_twice_or_another_digest_is_refused(server: ServerUnderTest) -> None:
    twice = b'{"schemaVersion": 2, "schemaVersion": 2}'
    assert server.http("PUT", "/v2/apps/cam/manifests/twice", twice, {"Content-Type": MANIFEST})[0] == 400
    part = push(server, b"part")
    data = json.dumps({"schemaVersion": 2, "config": descriptor(part), "layers": []}).encode()
    named = f"/v2/apps/cam/manifests/{digest(b'other')}"
    assert server.http("PUT", named, data, {"Content-Type": MANIFEST})[0] == 400
    assert server.http("PUT", f"/v2/apps/cam/manifests/{digest(data)}", data, {"Content-Type": MANIFEST})[0] == 201
