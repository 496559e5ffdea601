"""Rows 26 to 34: manifests and blobs that are not what was signed, or could be read in two ways."""

from __future__ import annotations

import json
from typing import Any

import pytest
from edge_server_support import instead
from oci_support import Image, Layer, busybox_entries, busybox_image, digest, tar
from prepare_support import Site

from edge_daemon.prepare.errors import ImageError
from edge_daemon.prepare.manifest import CONFIG_OF, OCI_MANIFEST, read_manifest
from fleet_protocol.documents.release import Image as SignedImage

LAYER = Layer(b"x", "none")
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


def nothing_came(host: Site) -> None:
    """Nothing was sealed, unpacked or committed."""
    assert not host.layout.generation(host.generation).exists()
    assert host.layers() == []
    assert not list(host.layout.revisions.iterdir())


def test_threat_26_a_manifest_of_another_digest_is_refused(host: Site) -> None:
    image = busybox_image()
    other = json.dumps(image.fields).encode().replace(b"schemaVersion", b"schemaversion")
    host.server.faults["/manifests/"] = instead(other)
    assert host.run(host.service(image)).refused["reason"] == "its bytes are not those that were signed"
    nothing_came(host)


def test_threat_27_two_signed_images_swapped_by_the_server_are_refused(host: Site) -> None:
    a, b = busybox_image({"Cmd": ["/bin/a"]}), busybox_image({"Cmd": ["/bin/b"]})
    services = host.service(a, "a"), host.service(b, "b")
    blobs = host.server.blobs
    assert len(blobs[a.manifest]) == len(blobs[b.manifest])
    blobs[a.manifest], blobs[b.manifest] = blobs[b.manifest], blobs[a.manifest]
    refused = host.run(*services).refused
    assert refused["reason"] == "its bytes are not those that were signed"
    nothing_came(host)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mediaType": OCI_INDEX, "manifests": []}, "could be read as another kind of document: it has manifests"),
        ({"manifests": []}, "could be read as another kind of document: it has manifests"),
        ({"fsLayers": []}, "could be read as another kind of document: it has fsLayers"),
        ({"mediaType": OCI_INDEX}, "is not an image manifest"),
        ({"mediaType": "application/vnd.oci.artifact.manifest.v1+json"}, "is not an image manifest"),
        ({"schemaVersion": 1}, "schema version 2"),
        ({"schemaVersion": True}, "schema version 2"),
        ({"schemaVersion": 2.0}, "schema version 2"),
        ({"layers": []}, "1 to 100 layers"),
        ({"layers": "x"}, "1 to 100 layers"),
        ({"config": None}, "config is not a descriptor"),
    ],
)
def test_threat_29_a_document_that_could_be_another_is_refused(change: dict[str, Any], words: str) -> None:
    refuses({**fields(), **change}, words)


def test_threat_28_a_config_of_another_type_is_refused() -> None:
    value = fields()
    value["config"]["mediaType"] = "application/vnd.dev.cosign.simplesigning.v1+json"
    refuses(value, "its config is of type")


def test_threat_30_more_layers_than_can_be_are_refused() -> None:
    refuses({**fields(), "layers": fields()["layers"] * 101}, "1 to 100 layers")


def test_threat_30_an_image_of_another_architecture_is_refused(host: Site) -> None:
    image = Image([Layer(tar(busybox_entries()))], config={"architecture": "s390x"})
    assert "is for 'linux'/'s390x', not for" in host.run(host.service(image)).refused["reason"]
    nothing_came(host)


@pytest.mark.parametrize(
    "bad",
    [
        "sha256:../../etc/passwd",
        "SHA256:" + "a" * 64,
        "sha256:" + "A" * 64,
        "md5:" + "a" * 32,
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 64 + "\n",
        "a" * 64,
        7,
    ],
)
def test_threat_31_a_digest_that_is_not_one_is_refused(bad: Any) -> None:
    value = fields()
    value["layers"][0]["digest"] = bad
    refuses(value, "is not sha256: and 64 lower-case hex digits")


@pytest.mark.parametrize("size", [-1, 0, 2**53 + 1, 1.5, "5", None, True])
def test_threat_32_a_size_that_is_none_is_refused(size: Any) -> None:
    value = fields()
    value["layers"][0]["size"] = size
    refuses(value, "")


def test_threat_32_blobs_of_another_total_size_than_signed_are_refused(host: Site) -> None:
    image = busybox_image()
    image.download_bytes -= 1
    refused = host.run(host.service(image)).refused
    assert f"bytes, the release signed {image.download_bytes}" in refused["reason"]
    nothing_came(host)


def test_threat_32_a_blob_with_trailing_bytes_is_refused(host: Site) -> None:
    image = busybox_image()
    layer = image.fields["layers"][0]["digest"]
    host.server.faults[layer] = instead(image.blobs[layer] + b"x")
    assert "the server sends more than the" in host.run(host.service(image)).refused["reason"]
    nothing_came(host)


def test_threat_32_a_blob_with_other_bytes_of_the_same_size_is_refused(host: Site) -> None:
    image = busybox_image()
    layer = image.fields["layers"][0]["digest"]
    host.server.faults[layer] = instead(image.blobs[layer][:-1] + b"\xff")
    assert host.run(host.service(image)).refused["reason"] == "its bytes are not those that were signed"
    nothing_came(host)


def test_threat_33_a_repacked_layer_with_another_diff_id_is_refused(host: Site) -> None:
    rootfs = {"type": "layers", "diff_ids": [digest(b"something else")]}
    image = Image([Layer(tar(busybox_entries()))], config={"rootfs": rootfs})
    assert "diff ID" in host.run(host.service(image)).refused["reason"]
    nothing_came(host)


def test_threat_34_a_layer_to_be_fetched_from_elsewhere_is_refused() -> None:
    value = fields()
    value["layers"][0]["urls"] = ["https://elsewhere.example/blob"]
    refuses(value, "is to be fetched from elsewhere (urls), which is never done")


def test_threat_34_a_foreign_layer_type_is_refused() -> None:
    value = fields()
    value["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    refuses(value, "which is not accepted")


def test_threat_34_a_redirect_is_not_followed_and_carries_no_token(host: Site) -> None:
    image = busybox_image()

    def redirects(handler: Any, _: bytes) -> None:
        handler.send_response(307)
        handler.send_header("Location", f"{host.server.url}/elsewhere")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    host.server.faults["/blobs/"] = redirects
    assert "HTTP status 307" in host.run(host.service(image)).refused["reason"]
    assert not host.server.fetched("/elsewhere")
    nothing_came(host)


def test_duplicate_keys_in_a_manifest_are_refused() -> None:
    data = json.dumps(fields()).encode()[:-1] + b',"layers":[]}'
    with pytest.raises(ImageError, match="duplicate key"):
        read_manifest(data, signed())


def fields() -> dict[str, Any]:
    """A manifest that is accepted as it is."""
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": CONFIG_OF[OCI_MANIFEST], "digest": digest(b"c"), "size": 10},
        "layers": [{"mediaType": LAYER.media_type, "digest": digest(b"l"), "size": 20}],
    }
    read_manifest(json.dumps(value).encode(), signed())
    return value


def signed() -> SignedImage:
    return SignedImage(manifest=digest(b"m"), manifest_size=500, download_bytes=30, unpacked_bytes=100)


def refuses(value: dict[str, Any], words: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_manifest(json.dumps(value).encode(), signed())
    assert words in caught.value.reason, caught.value.reason
