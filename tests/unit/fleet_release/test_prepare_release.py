"""From app.yaml and images to a release that only lacks counter and signature."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_protocol.documents.release import Release
from fleet_release.findings import FilesRefusedError
from fleet_release.images.build import build_layout
from fleet_release.images.errors import ImageNotFoundError
from fleet_release.images.sources import ImageSources
from fleet_release.images.workspace import Workspace
from fleet_release.release import prepare_release

APP = """apiVersion: roadstead/v1
kind: App
name: cam
version: 1.9.0
defaults: {memory: 32Mi}
limits: {gw: {pids: 16}}
maximum: {gw: {memory: 128Mi}}
probes: {gw: {http: ":8080/healthz", every: 5s, healthyFor: 1m}}
arch: {arm64: {gw: {image: registry.test/gw-lite:1}}}
images: {registry.test/gw:1: ./gw, registry.test/gw-lite:1: ./lite}
config: {SITE: {service: gw, to: env, default: unset}}
health: {window: 5s, restarts: 1, memorySlope: 10%/h}
group: [other]
"""
COMPOSE = "services:\n  gw: {image: registry.test/gw:1, cpus: 0.5, user: '1000', tmpfs: /run}\n"


def write(tmp_path: Path, app: str = APP) -> Path:
    (tmp_path / "app.yaml").write_text(app)
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    files = [("/gw", b"program", 0o755)]
    build_layout(tmp_path / "gw", {"amd64": files, "arm64": files}, {})
    build_layout(tmp_path / "lite", {"arm64": [("/gw", b"small", 0o755)]}, {})
    return tmp_path / "app.yaml"


def images(tmp_path: Path, **files: Path) -> ImageSources:
    return ImageSources(Workspace(tmp_path / "workspace"), {f"registry.test/{k}:1": v for k, v in files.items()})


def test_a_release_is_compiled_whole_and_says_what_it_added(tmp_path: Path) -> None:
    made = prepare_release(write(tmp_path), images(tmp_path), environment={})
    release = made.release_without_counter
    (gw,) = release.services
    assert (release.app, release.version, release.group) == ("cam", "1.9.0", ("other",))
    assert sorted(gw.images) == ["linux/amd64", "linux/arm64"]
    assert gw.images["linux/arm64"].source == "registry.test/gw-lite:1"
    assert gw.images["linux/arm64"].unpacked_bytes == 5
    assert (gw.limits.memory_bytes, gw.limits.cpu_millis, gw.limits.pids) == (32 << 20, 500, 16)
    assert gw.maximum is not None
    assert (gw.maximum.memory_bytes, gw.maximum.pids) == (128 << 20, 16)
    assert gw.probe is not None
    assert (gw.probe.http_port, gw.probe.http_path, gw.probe.every_s, gw.probe.healthy_for_s) == (
        8080,
        "/healthz",
        5,
        60,
    )
    assert (release.health.window_s, release.health.max_restarts, release.health.memory_slope_percent_per_h) == (
        5,
        1,
        10,
    )
    assert release.config["SITE"].default == "unset"
    assert [str(a) for a in made.added_defaults] == [
        "+ services.gw.mem_limit  32Mi   (default of app.yaml)",
        "+ services.gw.restart  always   (default)",
        "+ services.gw.tmpfs /run  16Mi   (default size)",
        "+ services.gw.read_only  true   (default)",
    ]
    assert made.notes == (
        "for linux/amd64, linux/arm64: what all images offer; name `platforms` in app.yaml to choose",
    )
    assert {(i.name, i.platform) for i in made.images} == {
        ("registry.test/gw:1", "linux/amd64"),
        ("registry.test/gw-lite:1", "linux/arm64"),
    }
    signed = release.model_copy(update={"release_counter": 7})
    assert Release.parse(signed.to_bytes()) == signed


def test_platforms_are_those_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, APP + "platforms: [amd64]\n")
    (gw,) = prepare_release(path, images(tmp_path), environment={}).release_without_counter.services
    assert list(gw.images) == ["linux/amd64"]
    (gw,) = prepare_release(path, images(tmp_path), ("linux/arm64",), environment={}).release_without_counter.services
    assert list(gw.images) == ["linux/arm64"]
    with pytest.raises(ImageNotFoundError, match="has no linux/386"):
        prepare_release(path, images(tmp_path), ("linux/386",), environment={})


def test_a_flag_lies_over_app_yaml_and_must_name_an_image_that_is_used(tmp_path: Path) -> None:
    path = write(tmp_path)
    build_layout(tmp_path / "other", {"amd64": [("/gw", b"a third one", 0o755)]}, {})
    made = prepare_release(path, images(tmp_path, gw=tmp_path / "other"), ("linux/amd64",), environment={})
    assert made.release_without_counter.services[0].images["linux/amd64"].unpacked_bytes == 11
    with pytest.raises(ImageNotFoundError, match="no service uses an image of this name"):
        prepare_release(path, images(tmp_path, nobody=tmp_path / "other"), environment={})


def test_images_without_a_common_platform_are_named_with_what_they_have(tmp_path: Path) -> None:
    plain = APP.replace("arch: {arm64: {gw: {image: registry.test/gw-lite:1}}}\n", "")
    plain = plain.replace("./gw,", "./lite,").replace(", registry.test/gw-lite:1: ./lite", "")
    path = write(tmp_path, plain)
    build_layout(tmp_path / "lite", {"riscv64": [("/gw", b"x", 0o755)]}, {})
    with pytest.raises(ImageNotFoundError, match=r"no platform in common \(registry.test/gw:1: linux/riscv64\)"):
        prepare_release(path, images(tmp_path), environment={})


def test_a_file_with_errors_never_becomes_a_release(tmp_path: Path) -> None:
    path = write(tmp_path, APP + "grants: [{service: gv, reason: none}]\n")
    with pytest.raises(FilesRefusedError) as caught:
        prepare_release(path, images(tmp_path), environment={})
    assert [f.code for f in caught.value.findings] == ["E0441"]
    with pytest.raises(FilesRefusedError, match="cannot be read: no such file"):
        prepare_release(tmp_path / "gone.yaml", images(tmp_path), environment={})


def test_the_same_files_make_the_same_bytes(tmp_path: Path) -> None:
    path = write(tmp_path)
    first = prepare_release(path, images(tmp_path), environment={}).release_without_counter.to_bytes()
    assert prepare_release(path, images(tmp_path), environment={}).release_without_counter.to_bytes() == first
