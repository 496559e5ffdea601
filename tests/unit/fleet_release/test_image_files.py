"""Images on disk: layouts and archives resolved per platform, and small images built of files."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from release_support import HandMade, digest, tar_of

from fleet_protocol.wire.strict_json import dumps
from fleet_release.images.build import FileEntry, LinkTo, build_layout
from fleet_release.images.documents import OCI_INDEX, OCI_MANIFEST
from fleet_release.images.errors import ImageNotFoundError, ImageRefusedError
from fleet_release.images.sources import ImageSources
from fleet_release.images.workspace import Workspace

FILES: list[FileEntry] = [
    ("/bin/sh", LinkTo("busybox"), 0o777),
    ("/bin/busybox", b"program", 0o755),
    ("/tmp", None, 0o1777),
]


def sources(tmp_path: Path, **files: Path) -> ImageSources:
    return ImageSources(Workspace(tmp_path / "workspace"), {f"registry.test/{k}:1": v for k, v in files.items()})


def archive(path: Path, members: dict[str, bytes]) -> Path:
    path.write_bytes(tar_of(members))
    return path


def test_a_built_image_has_the_same_digest_every_time_and_resolves_for_each_platform(tmp_path: Path) -> None:
    platforms = {"amd64": FILES, "linux/arm64": [*FILES, ("/etc/arm", b"yes", 0o644)]}
    first = build_layout(tmp_path / "one", platforms, {"Cmd": ["/bin/sh"]})
    second = build_layout(tmp_path / "two", platforms, {"Cmd": ["/bin/sh"]})
    assert first == second
    image = sources(tmp_path, web=tmp_path / "one").image("registry.test/web:1")
    assert image.platforms() == ("linux/amd64", "linux/arm64")
    amd, arm = image.resolve("linux/amd64"), image.resolve("linux/arm64")
    assert (amd.unpacked_bytes, arm.unpacked_bytes) == (7, 10)
    assert amd.manifest.digest != arm.manifest.digest
    assert amd.download_bytes == amd.config.size + amd.layers[0].size
    assert not amd.converted
    with amd.layers[0].open() as file:
        assert digest(file.read()) == amd.layers[0].digest


def test_a_built_image_holds_files_links_and_parents_of_root(tmp_path: Path) -> None:
    import gzip

    build_layout(tmp_path / "one", {"amd64": FILES}, {})
    image = sources(tmp_path, web=tmp_path / "one").image("registry.test/web:1").resolve("linux/amd64")
    with image.layers[0].open() as file, tarfile.open(fileobj=io.BytesIO(gzip.decompress(file.read()))) as tar:
        found = [(m.name, m.type, oct(m.mode), m.linkname, m.uid, m.mtime) for m in tar]
    assert found == [
        ("bin", b"5", "0o755", "", 0, 0),
        ("bin/busybox", b"0", "0o755", "", 0, 0),
        ("bin/sh", b"2", "0o777", "busybox", 0, 0),
        ("tmp", b"5", "0o1777", "", 0, 0),
    ]


def test_a_layout_in_an_archive_reads_as_one_in_a_directory(tmp_path: Path) -> None:
    build_layout(tmp_path / "one", {"amd64": FILES}, {})
    with tarfile.open(tmp_path / "one.tar", "w") as tar:
        tar.add(tmp_path / "one", arcname=".")
    from_directory = sources(tmp_path, web=tmp_path / "one").image("registry.test/web:1").resolve("linux/amd64")
    from_archive = sources(tmp_path, web=tmp_path / "one.tar").image("registry.test/web:1").resolve("linux/amd64")
    assert from_archive.manifest.digest == from_directory.manifest.digest
    with from_archive.layers[0].open() as a, from_directory.layers[0].open() as b:
        assert a.read() == b.read()


def test_of_several_images_in_one_layout_the_name_chooses(tmp_path: Path) -> None:
    made = HandMade()
    web = {**made.add(dumps(made.manifest), OCI_MANIFEST), "annotations": {"org.opencontainers.image.ref.name": "1"}}
    other = HandMade({"other": b"bytes"})
    db = {
        **other.add(dumps(other.manifest), OCI_MANIFEST),
        "annotations": {"io.containerd.image.name": "registry.test/db:2"},
    }
    made.blobs |= other.blobs
    folder = made.layout(tmp_path / "layout", web)
    index = json.loads((folder / "index.json").read_text())
    index["manifests"].append(db)
    (folder / "index.json").write_text(json.dumps(index))
    assert (
        sources(tmp_path, web=folder).image("registry.test/web:1").resolve("linux/amd64").manifest.digest
        == web["digest"]
    )
    named = ImageSources(Workspace(tmp_path / "w2"), {"registry.test/db:2": folder, "registry.test/x:3": folder})
    assert named.image("registry.test/db:2").resolve("linux/amd64").manifest.digest == db["digest"]
    with pytest.raises(ImageNotFoundError, match=r"holds 2 images and none is this one: 1, registry\.test/db:2"):
        named.image("registry.test/x:3").platforms()


def docker_save(made: HandMade, tags: list[str]) -> dict[str, bytes]:
    config = made.blobs[made.manifest["config"]["digest"]]
    name = f"{digest(config).removeprefix('sha256:')}.json"
    manifest = [{"Config": name, "RepoTags": tags, "Layers": ["aa/layer.tar"]}]
    return {name: config, "aa/layer.tar": tar_of(made.files), "manifest.json": json.dumps(manifest).encode()}


def test_a_docker_save_archive_is_converted_and_both_digests_are_known(tmp_path: Path) -> None:
    made = HandMade({"hello": b"x" * 100_000})
    path = archive(tmp_path / "web.tar", docker_save(made, ["registry.test/web:1"]))
    first = sources(tmp_path, web=path).image("registry.test/web:1").resolve("linux/amd64")
    assert first.converted
    assert first.source_digest == first.config.digest == made.manifest["config"]["digest"]
    assert first.layers[0].size < 10_000
    assert first.unpacked_bytes == 100_000
    again = ImageSources(Workspace(tmp_path / "other"), {"registry.test/web:1": path})
    assert again.image("registry.test/web:1").resolve("linux/amd64").manifest.digest == first.manifest.digest


def test_an_archive_whose_layer_is_another_than_its_configuration_names_is_refused(tmp_path: Path) -> None:
    members = docker_save(HandMade(), ["registry.test/web:1"])
    members["aa/layer.tar"] = tar_of({"hello": b"other"})
    path = archive(tmp_path / "web.tar", members)
    with pytest.raises(ImageRefusedError, match="inside, its image names"):
        sources(tmp_path, web=path).image("registry.test/web:1").resolve("linux/amd64")


def test_a_platform_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    path = HandMade().layout(tmp_path / "layout")
    with pytest.raises(ImageNotFoundError, match=r"has no linux/arm64, only linux/amd64"):
        sources(tmp_path, web=path).image("registry.test/web:1").resolve("linux/arm64")


def test_attestations_in_an_index_are_not_platforms(tmp_path: Path) -> None:
    made = HandMade()
    image = {**made.add(dumps(made.manifest), OCI_MANIFEST), "platform": {"os": "linux", "architecture": "amd64"}}
    note = {**made.add(b"{}", OCI_MANIFEST), "platform": {"os": "unknown", "architecture": "unknown"}}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [image, note]}
    folder = made.layout(tmp_path / "layout", made.add(dumps(index), OCI_INDEX))
    assert sources(tmp_path, web=folder).image("registry.test/web:1").platforms() == ("linux/amd64",)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"\x1f\x8b" + b"0" * 600, "is a compressed archive", id="compressed"),
        pytest.param(b"no tar at all" * 100, "is neither a directory nor a tar archive", id="not an archive"),
        pytest.param(tar_of({"a": b"b"}), "is neither an OCI layout nor a `docker save` archive", id="another archive"),
    ],
)
def test_a_file_that_holds_no_image_is_refused(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(data)
    with pytest.raises(ImageRefusedError, match=says):
        sources(tmp_path, web=path).image("registry.test/web:1")


def test_a_layer_that_is_shared_is_measured_once(tmp_path: Path) -> None:
    build_layout(tmp_path / "one", {"amd64": FILES}, {})
    build_layout(tmp_path / "two", {"amd64": FILES}, {"Cmd": ["x"]})
    both = sources(tmp_path, web=tmp_path / "one", db=tmp_path / "two")
    first = both.image("registry.test/web:1").resolve("linux/amd64")
    layer = tmp_path / "two" / "blobs" / "sha256" / first.layers[0].digest.removeprefix("sha256:")
    layer.write_bytes(b"never read")
    second = both.image("registry.test/db:1").resolve("linux/amd64")
    assert second.layers[0].digest == first.layers[0].digest
