"""Registries and uploads over real HTTP, with real skopeo on the other end."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from release_support import PASSWORD, HandMade, Registry, digest, registry

from fleet_protocol.wire.errors import UnreachableError
from fleet_release.images.build import FileEntry, build_layout
from fleet_release.images.credentials import tool_credentials
from fleet_release.images.errors import ImageRefusedError, PushRefusedError, RegistryRefusedError
from fleet_release.images.push import push_images
from fleet_release.images.reference import parse_reference
from fleet_release.images.registry import RegistryContent
from fleet_release.images.resolve import ResolvableImage
from fleet_release.images.sources import ImageSources
from fleet_release.images.workspace import Workspace

BIG = b"".join(digest(i.to_bytes(4, "big")).encode() for i in range(20_000))


def built(tmp_path: Path) -> Path:
    files: list[FileEntry] = [("/bin/busybox", Path("/bin/busybox"), 0o755), ("/big", BIG, 0o644)]
    build_layout(tmp_path / "web", {"amd64": files, "arm64": files[1:]}, {"Cmd": ["/bin/busybox"]}, name="1")
    return tmp_path / "web"


def from_disk(tmp_path: Path, path: Path) -> ImageSources:
    return ImageSources(Workspace(tmp_path / "workspace"), {"registry.test/web:1": path})


def skopeo(*arguments: str) -> None:
    done = subprocess.run(["skopeo", "--insecure-policy", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def pushed(server: Registry, tmp_path: Path) -> ImageSources:
    sources = from_disk(tmp_path, built(tmp_path))
    image = sources.image("registry.test/web:1")
    push_images([image.resolve(p) for p in image.platforms()], server.url, "apps/shop", {})
    return sources


def test_images_are_pushed_once_and_skopeo_can_read_them(tmp_path: Path) -> None:
    with registry() as server:
        sources = from_disk(tmp_path, built(tmp_path))
        images = [sources.image("registry.test/web:1").resolve(p) for p in ("linux/amd64", "linux/arm64")]
        seen: list[tuple[int, int]] = []
        headers = {"Authorization": f"Bearer {PASSWORD}"}
        first = push_images(images, server.url, "apps/shop", headers, progress=lambda _, n, of: seen.append((n, of)))
        again = push_images(images, server.url, "apps/shop", headers)
        assert (first.blobs_sent, first.blobs_known, first.manifests) == (4, 0, 2)
        assert first.bytes_sent == sum(b.size for i in images for b in i.blobs())
        assert (again.blobs_sent, again.blobs_known, again.bytes_sent) == (0, 4, 0)
        assert max(n for n, _ in seen) == max(b.size for i in images for b in i.blobs())
        assert {h.get("authorization") for _, _, h in server.requests} == {f"Bearer {PASSWORD}"}
        name = f"docker://127.0.0.1:{server.port}/apps/shop@{images[0].manifest.digest}"
        skopeo("copy", "--src-tls-verify=false", name, f"dir:{tmp_path / 'copy'}")
        manifest = (tmp_path / "copy" / "manifest.json").read_bytes()
        assert digest(manifest) == images[0].manifest.digest


def test_a_broken_upload_is_sent_again_and_what_arrived_is_not(tmp_path: Path) -> None:
    with registry() as server:
        server.break_uploads = 1
        images = [from_disk(tmp_path, built(tmp_path)).image("registry.test/web:1").resolve("linux/amd64")]
        assert push_images(images, server.url, "apps/shop", {}).blobs_sent == 2
        server.break_uploads = 9
        server.blobs.clear()
        with pytest.raises(UnreachableError):
            push_images(images, server.url, "apps/shop", {})


def test_a_server_that_refuses_is_quoted(tmp_path: Path) -> None:
    with registry() as server:
        server.token = "wanted"
        images = [from_disk(tmp_path, built(tmp_path)).image("registry.test/web:1").resolve("linux/amd64")]
        with pytest.raises(PushRefusedError, match="the server answered with status 401"):
            push_images(images, server.url, "apps/shop", {"Authorization": "Bearer other"})


def test_nobody_there_is_unreachable(tmp_path: Path) -> None:
    with registry() as server:
        url = server.url
    images = [from_disk(tmp_path, built(tmp_path)).image("registry.test/web:1").resolve("linux/amd64")]
    with pytest.raises(UnreachableError):
        push_images(images, url, "apps/shop", {})


def test_what_skopeo_pushes_to_a_registry_resolves_to_the_same_digests(tmp_path: Path) -> None:
    with registry() as server:
        name = f"127.0.0.1:{server.port}/acme/web:1"
        skopeo("copy", "--all", "--dest-tls-verify=false", f"oci:{built(tmp_path)}:1", f"docker://{name}")
        there = ImageSources(Workspace(tmp_path / "workspace"))
        image = there.image(name)
        assert image.platforms() == ("linux/amd64", "linux/arm64")
        here = from_disk(tmp_path, tmp_path / "web").image("registry.test/web:1")
        for platform in image.platforms():
            remote, local = image.resolve(platform), here.resolve(platform)
            assert (remote.manifest.digest, remote.unpacked_bytes) == (local.manifest.digest, local.unpacked_bytes)
            with remote.layers[0].open() as a, local.layers[0].open() as b:
                assert a.read() == b.read()
        there.close()


def test_a_layer_fetched_before_is_not_fetched_again_and_a_damaged_one_is(tmp_path: Path) -> None:
    made = HandMade({"big": BIG})
    with registry() as server:
        server.serve(made, "web", "1")
        name = f"127.0.0.1:{server.port}/web:1"

        def resolve() -> int:
            server.requests.clear()
            sources = ImageSources(Workspace(tmp_path / "workspace"))
            sources.image(name).resolve("linux/amd64")
            sources.close()
            return sum(made.manifest["layers"][0]["digest"] in path for _, path, _ in server.requests)

        assert (resolve(), resolve()) == (1, 0)
        (kept,) = (tmp_path / "workspace" / "blobs").iterdir()
        kept.write_bytes(b"x" * kept.stat().st_size)
        assert resolve() == 1


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_archives_written_by_skopeo_resolve(tmp_path: Path, form: str) -> None:
    source = ["--override-arch", "amd64", f"oci:{built(tmp_path)}:1"]
    skopeo("copy", *source, f"{form}:{tmp_path / 'web.tar'}:registry.test/web:1")
    image = from_disk(tmp_path, tmp_path / "web.tar").image("registry.test/web:1").resolve("linux/amd64")
    assert image.unpacked_bytes == Path("/bin/busybox").stat().st_size + len(BIG)
    assert image.converted == (form == "docker-archive")


def test_a_token_is_fetched_with_the_engineers_own_credentials(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"PLACE": {"auth": "bWU6b3BlbiBzZXNhbWU="}}}))
    made = HandMade()
    with registry() as server:
        server.serve(made, "web", "1")
        server.token = "t0ken"
        text = (tmp_path / "config.json").read_text().replace("PLACE", f"127.0.0.1:{server.port}")
        (tmp_path / "config.json").write_text(text)
        lookup = tool_credentials({"DOCKER_CONFIG": str(tmp_path)})
        content = RegistryContent(parse_reference(f"127.0.0.1:{server.port}/web:1"), Workspace(tmp_path / "w"), lookup)
        assert ResolvableImage("web", content).resolve("linux/amd64").platform == "linux/amd64"
        content.close()
        token = next((path, h) for _, path, h in server.requests if path.startswith("/token"))
        assert token == (
            "/token?service=registry&scope=repository%3Aweb%3Apull",
            {**token[1], "authorization": "Basic bWU6b3BlbiBzZXNhbWU="},
        )


def test_a_registry_that_does_not_have_it_or_wants_other_credentials_is_quoted(tmp_path: Path) -> None:
    with registry() as server:
        sources = ImageSources(Workspace(tmp_path / "w"))
        with pytest.raises(RegistryRefusedError, match="the registry does not have it"):
            sources.image(f"127.0.0.1:{server.port}/web:1").platforms()
        server.token, server.realm = "x", f"{server.url}/nowhere"
        with pytest.raises(RegistryRefusedError, match="the registry wants other credentials"):
            sources.image(f"127.0.0.1:{server.port}/other:1").platforms()
        sources.close()


def test_a_digest_in_the_name_is_held_against_the_answer(tmp_path: Path) -> None:
    made = HandMade()
    with registry() as server:
        server.serve(made, "web", "1")
        wanted = f"sha256:{'0' * 64}"
        server.manifests["web", wanted] = server.manifests["web", "1"]
        sources = ImageSources(Workspace(tmp_path / "w"))
        with pytest.raises(ImageRefusedError, match="sha256:000000000000 was asked for"):
            sources.image(f"127.0.0.1:{server.port}/web@{wanted}").platforms()
        sources.close()
