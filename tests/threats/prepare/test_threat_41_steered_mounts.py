"""Rows 41 to 44: images that steer mounts, working directory or user; one real run each, the rest on the parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from oci_support import Layer, busybox_image, folder, link, tar, text
from prepare_support import Site
from trust_support import release_value

from edge_daemon.prepare.errors import SealError
from edge_daemon.prepare.manifest import ImageConfig
from edge_daemon.prepare.mounts import Sources, mounts
from edge_daemon.prepare.oci import working_dir
from edge_daemon.prepare.rootfs import MergedRoot
from edge_daemon.prepare.users import resolve_user
from fleet_protocol.documents.release import Release, Service

HERE = Path("/somewhere")
SOURCES = Sources(HERE, HERE, HERE, HERE, (), "")


def service(**over: Any) -> Service:
    return Release.from_value(release_value(service=over)).services[0]


def image(**over: Any) -> ImageConfig:
    plain: dict[str, Any] = {
        "entrypoint": (),
        "command": ("/bin/sh",),
        "environment": (),
        "user": "",
        "working_dir": "",
    }
    return ImageConfig(**{**plain, "diff_ids": (), **over})


def layers(tmp_path: Path, *trees: dict[str, str | None]) -> MergedRoot:
    """Each tree is a layer: text is a file's, "-> x" a link, None a directory."""
    made = []
    for number, tree in enumerate(trees):
        layer = tmp_path / str(number)
        layer.mkdir()
        for name, what in tree.items():
            path = layer / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if what is None:
                path.mkdir()
            elif what.startswith("-> "):
                path.symlink_to(what[3:])
            else:
                path.write_text(what)
        made.append(layer)
    return MergedRoot(tuple(made))


@pytest.mark.parametrize(
    ("tree", "target", "words"),
    [
        ({"proc": "-> /tmp"}, "/proc", "/proc is a symbolic link in the image"),
        ({"sys": "-> tmp"}, "/sys", "/sys is a symbolic link in the image"),
        ({"dev": "-> ../../../.."}, "/dev", "/dev is a symbolic link in the image"),
        ({"run": "-> /etc"}, "/run", "/run is a symbolic link in the image"),
        ({"proc": "a file"}, "/proc", "/proc in the image is not what /proc can be mounted on"),
        ({"data": "-> /etc"}, "/data/v", "/data is a symbolic link in the image"),
        ({"a/b/link": "-> ../.."}, "/a/b/link/c", "/a/b/link is a symbolic link in the image"),
        ({"a": "file"}, "/a/b", "/a in the image is not what /a/b can be mounted on"),
        ({}, "/../x", "cannot be mounted on"),
    ],
)
def test_a_mount_point_that_the_image_steers_is_refused(
    tmp_path: Path, tree: dict[str, str | None], target: str, words: str
) -> None:
    with pytest.raises(SealError) as caught:
        layers(tmp_path, {"base": None}, tree).check_target(target, directory=True, element="cam.web")
    assert words in caught.value.reason


def test_a_link_that_a_higher_layer_replaces_is_no_matter(tmp_path: Path) -> None:
    layers(tmp_path, {"proc": "-> /tmp"}, {"proc": None}).check_target("/proc", directory=True, element="cam.web")


def test_threat_41_the_one_shot_refuses_such_an_image_and_the_target_stays_as_it_was(host: Site) -> None:
    steered = busybox_image(None, Layer(tar([link("proc", str(host.base))])))
    assert "/proc is a symbolic link in the image" in host.run(host.service(steered)).refused["reason"]
    assert not host.layout.generation(1).exists()


@pytest.mark.parametrize(
    "path",
    [
        *(f"/proc/self/fd/{n}" for n in range(3, 21)),
        "proc/self/fd/7",
        "//proc/self/fd/7",
        "/x/../proc",
        "/./proc",
        "/sys",
        "../x",
    ],
)
def test_threat_42_a_working_directory_that_leads_out_is_refused(path: str) -> None:
    with pytest.raises(SealError, match="working directory"):
        working_dir(service(), image(working_dir=path))


def test_threat_42_the_one_shot_refuses_such_an_image(host: Site) -> None:
    assert (
        "working directory"
        in host.run(host.service(busybox_image({"WorkingDir": "/proc/self/fd/7"}))).refused["reason"]
    )


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ("4294967296", "is not a number up to 65535"),
        ("65536", "is not a number up to 65535"),
        ("-1", "neither a number nor a name"),
        ("0:4294967296", "not a number up to 65535"),
        ("root\n", "neither a number nor a name"),
        ("absent", "is not in the image's /etc/passwd"),
        ("evil", "is not a number up to 65535"),
        ("\N{ARABIC-INDIC DIGIT THREE}", "neither a number nor a name"),
        ("0:absent", "is not in the image's /etc/group"),
    ],
)
def test_threat_43_a_user_that_is_no_small_number_is_refused(tmp_path: Path, user: str, words: str) -> None:
    root = layers(tmp_path, {"etc/passwd": "evil:x:4294967296:0::/:\nroot:x:0:0::/:\n"})
    with pytest.raises(SealError) as caught:
        resolve_user(user, root, "cam.web")
    assert words in caught.value.reason


def test_threat_43_a_passwd_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(SealError, match="is not in the image's /etc/passwd"):
        resolve_user("root", layers(tmp_path, {"etc/passwd": "-> /etc/passwd"}), "cam.web")


def test_threat_43_a_passwd_below_a_link_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(SealError, match="is not in the image's /etc/passwd"):
        resolve_user("root", layers(tmp_path, {"etc": "-> /etc"}), "cam.web")


def test_threat_43_the_one_shot_refuses_such_an_image(host: Site) -> None:
    crafted = Layer(tar([text("etc/passwd", "evil:x:4294967296:0::/:\n")]))
    assert (
        "not a number up to 65535" in host.run(host.service(busybox_image({"User": "evil"}, crafted))).refused["reason"]
    )


@pytest.mark.parametrize(
    "target", ["/proc/x", "/sys", "/dev/x", "/etc/hosts", "/", "/a/../proc", "/a//b", "/./a", "/proc"]
)
def test_threat_44_a_mount_over_our_own_is_refused(target: str) -> None:
    with pytest.raises(SealError, match="cannot be the target of a mount"):
        mounts(service(volumes=[{"name": "v", "target": target}]), SOURCES)


def test_threat_44_the_one_shot_refuses_a_volume_through_a_link(host: Site) -> None:
    steered = busybox_image(None, Layer(tar([link("data", "/etc"), folder("www")])))
    wanted = host.service(steered, volumes=[{"name": "v", "target": "/data/v"}])
    assert "/data is a symbolic link in the image" in host.run(wanted).refused["reason"]
