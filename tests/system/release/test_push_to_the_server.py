"""Prepared images uploaded to a real Roadstead server over its own TLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from release_support import digest
from server_process_support import ServerUnderTest

from fleet_release.images.build import build_layout
from fleet_release.images.errors import PushRefusedError
from fleet_release.images.model import ResolvedImage
from fleet_release.images.push import push_images
from fleet_release.images.sources import ImageSources
from fleet_release.images.workspace import Workspace


@pytest.fixture(scope="module")
def server() -> Iterator[ServerUnderTest]:
    made = ServerUnderTest()
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def images(tmp_path: Path) -> list[ResolvedImage]:
    program = ("/bin/busybox", Path("/bin/busybox"), 0o755)
    build_layout(tmp_path / "web", {"amd64": [program], "arm64": [("/arm", b"arm", 0o755)]}, {})
    image = ImageSources(Workspace(tmp_path / "w"), {"web": tmp_path / "web"}).image("web")
    return [image.resolve(platform) for platform in image.platforms()]


def test_the_server_holds_every_byte_after_a_push_and_takes_nothing_twice(
    server: ServerUnderTest, images: list[ResolvedImage]
) -> None:
    url, headers = f"https://localhost:{server.port}", {"Authorization": f"Bearer {server.token}"}
    first = push_images(images, url, "apps/shop", headers, tls=server.tls)
    assert (first.blobs_sent, first.manifests) == (4, 2)
    assert push_images(images, url, "apps/shop", headers, tls=server.tls).blobs_sent == 0
    for image in images:
        for kind, blob in [("manifests", image.manifest), *(("blobs", b) for b in image.blobs())]:
            status, _, data = server.http("GET", f"/v2/apps/shop/{kind}/{blob.digest}")
            assert (status, digest(data)) == (200, blob.digest)


def test_a_push_without_a_token_is_refused(server: ServerUnderTest, images: list[ResolvedImage]) -> None:
    with pytest.raises(PushRefusedError, match="the server answered with status 401"):
        push_images(images, f"https://localhost:{server.port}", "apps/shop", {}, tls=server.tls)
