"""Rows 29 to 33 on the engineer's side: what an edge host would refuse is refused before it is signed."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from release_support import HandMade, digest, registry, tar_of

from fleet_protocol.wire.strict_json import dumps
from fleet_release.images.documents import OCI_INDEX, OCI_LAYER, OCI_LAYER_ZSTD, OCI_MANIFEST, Descriptor
from fleet_release.images.errors import ImageNotFoundError, ImageRefusedError
from fleet_release.images.measure import measure
from fleet_release.images.sources import ImageSources
from fleet_release.images.workspace import Workspace

Change = Callable[[HandMade], dict[str, Any] | None]


def resolve(tmp_path: Path, made: HandMade, root: dict[str, Any] | None = None) -> None:
    folder = made.layout(tmp_path / "layout", root)
    sources = ImageSources(Workspace(tmp_path / "workspace"), {"registry.test/web:1": folder})
    sources.image("registry.test/web:1").resolve("linux/amd64")


def test_threat_29_a_document_that_is_both_index_and_manifest_is_refused(tmp_path: Path) -> None:
    made = HandMade()
    made.manifest["manifests"] = []
    with pytest.raises(ImageRefusedError, match="can be read both as an index and as a manifest"):
        resolve(tmp_path, made)


@pytest.mark.parametrize("named", [OCI_INDEX, "application/vnd.docker.distribution.manifest.v2+json"])
def test_threat_29_a_media_type_other_than_the_one_that_names_it_is_refused(tmp_path: Path, named: str) -> None:
    made = HandMade()
    with pytest.raises(ImageRefusedError, match="but is named as"):
        resolve(tmp_path, made, made.add(dumps(made.manifest), named))


@pytest.mark.parametrize("kind", [OCI_INDEX, "application/vnd.docker.distribution.manifest.v2+json"])
def test_threat_29_a_registrys_content_type_must_be_the_documents_own(tmp_path: Path, kind: str) -> None:
    made = HandMade()
    with registry() as server:
        server.serve(made, "web", "1")
        server.manifests["web", "1"] = (kind, dumps(made.manifest))
        sources = ImageSources(Workspace(tmp_path / "w"))
        with pytest.raises(ImageRefusedError, match="but is named as"):
            sources.image(f"127.0.0.1:{server.port}/web:1").platforms()
        sources.close()


def test_threat_29_duplicate_keys_have_no_second_reading(tmp_path: Path) -> None:
    made = HandMade()
    text = dumps(made.manifest).replace(b'"schemaVersion":2', b'"schemaVersion":2,"layers":[]')
    with pytest.raises(ImageRefusedError, match="duplicate key 'layers'"):
        resolve(tmp_path, made, made.add(text, OCI_MANIFEST))


def index_of(made: HandMade, entries: list[dict[str, Any]]) -> dict[str, Any]:
    return made.add(dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}), OCI_INDEX)


def image_entry(made: HandMade, architecture: str) -> dict[str, Any]:
    entry = made.add(dumps(made.manifest), OCI_MANIFEST)
    return {**entry, "platform": {"os": "linux", "architecture": architecture}}


def test_threat_30_an_index_that_names_an_image_for_another_machine_is_refused(tmp_path: Path) -> None:
    made = HandMade(architecture="arm64")
    with pytest.raises(ImageRefusedError, match="is named as linux/amd64, but its configuration is for linux/arm64"):
        resolve(tmp_path, made, index_of(made, [image_entry(made, "amd64")]))


def test_threat_30_an_index_in_an_index_in_an_index_is_refused(tmp_path: Path) -> None:
    made = HandMade()
    root = index_of(made, [image_entry(made, "amd64")])
    for _ in range(3):
        root = index_of(made, [root])
    with pytest.raises(ImageRefusedError, match="an index in an index in an index"):
        resolve(tmp_path, made, root)


def test_threat_30_two_images_for_one_platform_are_refused(tmp_path: Path) -> None:
    made, other = HandMade(), HandMade({"other": b"bytes"})
    made.blobs |= other.blobs
    entries = [image_entry(made, "amd64"), {**image_entry(other, "amd64")}]
    made.blobs |= other.blobs
    with pytest.raises(ImageRefusedError, match="lists two different images for linux/amd64"):
        resolve(tmp_path, made, index_of(made, entries))


def test_threat_30_an_index_of_a_hundred_thousand_entries_is_not_walked(tmp_path: Path) -> None:
    made = HandMade()
    entries = [image_entry(made, "amd64")] * 101
    with pytest.raises(ImageRefusedError, match="an index lists at most 100 manifests"):
        resolve(tmp_path, made, index_of(made, entries))


HOSTILE_DIGESTS = [
    "sha256:../../../etc/passwd",
    f"SHA256:{'0' * 64}",
    f"sha256:{'A' * 64}",
    f"md5:{'0' * 32}",
    "",
    7,
    f"sha256:{'0' * 63}\n",
]


@pytest.mark.parametrize("hostile", HOSTILE_DIGESTS, ids=repr)
@pytest.mark.parametrize("where", ["config", "layer", "root"])
def test_threat_31_a_digest_that_is_no_digest_never_becomes_a_path(tmp_path: Path, hostile: object, where: str) -> None:
    made = HandMade()
    root = None
    if where == "root":
        root = {**made.add(dumps(made.manifest), OCI_MANIFEST), "digest": hostile}
    else:
        (made.manifest["config"] if where == "config" else made.manifest["layers"][0])["digest"] = hostile
    with pytest.raises(ImageRefusedError, match="is not sha256: and 64 lower-case hex digits"):
        resolve(tmp_path, made, root)


def test_threat_31_a_hostile_diff_id_is_refused(tmp_path: Path) -> None:
    made = HandMade()
    config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": ["sha256:../.."]}}
    made.manifest["config"] = made.add(dumps(config), made.manifest["config"]["mediaType"])
    with pytest.raises(ImageRefusedError, match=r"diff ID 'sha256:\.\./\.\.'"):
        resolve(tmp_path, made)


@pytest.mark.parametrize("size", [0, -1, 1.5, "12", True, 2**60, None], ids=repr)
def test_threat_32_a_size_that_is_no_size_is_refused(tmp_path: Path, size: object) -> None:
    made = HandMade()
    made.manifest["layers"][0]["size"] = size
    folder = made.layout(tmp_path / "layout", made.add(json.dumps(made.manifest).encode(), OCI_MANIFEST))
    sources = ImageSources(Workspace(tmp_path / "workspace"), {"registry.test/web:1": folder})
    with pytest.raises(ImageRefusedError, match=r"no acceptable size|integer beyond"):
        sources.image("registry.test/web:1").resolve("linux/amd64")


@pytest.mark.parametrize(("difference", "says"), [(1, "bytes, .* were named"), (-1, "has more than the")])
def test_threat_32_a_layer_larger_or_smaller_than_named_is_refused(tmp_path: Path, difference: int, says: str) -> None:
    made = HandMade()
    made.manifest["layers"][0]["size"] += difference
    with pytest.raises(ImageRefusedError, match=says):
        resolve(tmp_path, made)


def test_threat_32_trailing_data_of_a_registry_is_not_read_to_its_end(tmp_path: Path) -> None:
    made = HandMade()
    with registry() as server:
        server.serve(made, "web", "1")
        server.blobs[made.manifest["layers"][0]["digest"]] += b"x" * 1000
        sources = ImageSources(Workspace(tmp_path / "w"))
        with pytest.raises(ImageRefusedError, match="has more than the"):
            sources.image(f"127.0.0.1:{server.port}/web:1").resolve("linux/amd64")
        sources.close()
        assert list((tmp_path / "w").rglob("*.*")) == []
        assert [p for p in (tmp_path / "w").rglob("*") if p.is_file()] == []


def test_threat_32_other_bytes_of_the_same_size_are_refused(tmp_path: Path) -> None:
    made = HandMade()
    name = made.manifest["layers"][0]["digest"]
    made.blobs[name] = made.blobs[name][:-1] + bytes([made.blobs[name][-1] ^ 1])
    with pytest.raises(ImageRefusedError):
        resolve(tmp_path, made)


def test_threat_33_a_layer_with_the_right_digest_and_another_content_is_refused(tmp_path: Path) -> None:
    made = HandMade()
    packed = gzip.compress(tar_of({"hello": b"replaced"}), mtime=0)
    made.manifest["layers"] = [made.add(packed, made.manifest["layers"][0]["mediaType"])]
    with pytest.raises(ImageRefusedError, match="inside, its image names"):
        resolve(tmp_path, made)


def test_threat_33_as_many_diff_ids_as_layers(tmp_path: Path) -> None:
    made = HandMade()
    made.manifest["layers"] *= 2
    with pytest.raises(ImageRefusedError, match="names 1 diff IDs for 2 layers"):
        resolve(tmp_path, made)


def layer(data: bytes, kind: str) -> tuple[io.BytesIO, Descriptor]:
    return io.BytesIO(data), Descriptor(kind, digest(data), len(data))


def test_threat_35_a_bomb_is_refused_before_it_is_signed() -> None:
    zeros = tar_of({"zeros": bytes(80 << 20)})
    source, described = layer(zstd.compress(zeros), OCI_LAYER_ZSTD)
    with pytest.raises(ImageRefusedError, match="is a decompression bomb"):
        measure(source, described, "web")


def test_threat_40_a_huge_extended_header_is_not_read_into_memory() -> None:
    import tarfile

    info = tarfile.TarInfo("header")
    info.type, info.size = b"x", 1 << 30
    source, described = layer(info.tobuf(tarfile.GNU_FORMAT) + bytes(2048), OCI_LAYER)
    with pytest.raises(ImageRefusedError, match=r"has an extended header of 1073741824 bytes|cannot be read"):
        measure(source, described, "web")


@pytest.mark.parametrize("cut", [1, 100])
def test_threat_32_a_stream_that_ends_early_is_refused(cut: int) -> None:
    whole = gzip.compress(tar_of({"a": b"b" * 5000}), mtime=0)
    source, described = layer(whole[:-cut], HandMade().manifest["layers"][0]["mediaType"])
    with pytest.raises(ImageRefusedError, match="cannot be read"):
        measure(source, described, "web")


def test_a_missing_blob_is_not_there_rather_than_hostile(tmp_path: Path) -> None:
    made = HandMade()
    del made.blobs[made.manifest["config"]["digest"]]
    with pytest.raises(ImageNotFoundError, match="has no blobs/sha256/"):
        resolve(tmp_path, made)
