"""Row 34: layers from elsewhere are ignored, and credentials stay with the registry that they are for."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from release_support import PASSWORD, HandMade, Registry, registry

from fleet_release.images.errors import ImageRefusedError, PushRefusedError, RegistryRefusedError
from fleet_release.images.push import push_images
from fleet_release.images.reference import parse_reference
from fleet_release.images.registry import RegistryContent
from fleet_release.images.resolve import ResolvableImage
from fleet_release.images.session import RegistrySession
from fleet_release.images.sources import ImageSources
from fleet_release.images.workspace import Workspace


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def elsewhere(authority: trustme.CA) -> Iterator[Registry]:
    """Another host (another port is another host), with TLS that the client trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with registry(context) as server:
        yield server


def credentials(_: str) -> tuple[str, str]:
    return "me", PASSWORD


def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def content(server: Registry, tmp_path: Path, authority: trustme.CA, realms: tuple[str, ...] = ()) -> RegistryContent:
    reference = parse_reference(f"127.0.0.1:{server.port}/web:1")
    return RegistryContent(
        reference, Workspace(tmp_path / "w"), credentials, tls=client_context(authority), realms=realms
    )


def test_threat_34_a_redirect_to_another_host_carries_no_credentials(
    tmp_path: Path, authority: trustme.CA, elsewhere: Registry
) -> None:
    made = HandMade()
    elsewhere.blobs |= made.blobs
    with registry() as server:
        server.serve(made, "web", "1")
        server.token = "t0ken"
        server.redirect_blobs_to = elsewhere.url
        source = content(server, tmp_path, authority)
        image = ResolvableImage("web", source).resolve("linux/amd64")
        source.close()
        assert image.layers[0].digest == made.manifest["layers"][0]["digest"]
        assert len(elsewhere.requests) >= 2
        assert [h for _, _, h in elsewhere.requests if "authorization" in h or "cookie" in h] == []
        assert any(h.get("authorization") == "Bearer t0ken" for _, _, h in server.requests)


def test_threat_34_a_redirect_without_tls_is_not_followed(tmp_path: Path, authority: trustme.CA) -> None:
    made = HandMade()
    with registry() as server, registry() as plain:
        server.serve(made, "web", "1")
        plain.blobs |= made.blobs
        server.redirect_blobs_to = plain.url
        source = content(server, tmp_path, authority)
        with pytest.raises(RegistryRefusedError, match="redirects to an address without TLS"):
            ResolvableImage("web", source).resolve("linux/amd64")
        source.close()
        assert plain.requests == []


def test_threat_34_credentials_are_not_sent_to_a_realm_of_another_host(
    tmp_path: Path, authority: trustme.CA, elsewhere: Registry
) -> None:
    with registry() as server:
        server.serve(HandMade(), "web", "1")
        server.token = elsewhere.token = "t0ken"
        server.realm = f"{elsewhere.url}/token"
        source = content(server, tmp_path, authority)
        with pytest.raises(RegistryRefusedError, match=r"wants your credentials sent to 127\.0\.0\.1, which is not"):
            ResolvableImage("web", source).platforms()
        assert elsewhere.requests == []
        source.close()
        allowed = content(server, tmp_path, authority, realms=("127.0.0.1",))
        assert ResolvableImage("web", allowed).platforms() == ("linux/amd64",)
        allowed.close()


@pytest.mark.parametrize(
    ("registry_name", "realm", "may"),
    [
        ("registry.example.com", "https://registry.example.com/token", True),
        ("registry.example.com", "https://example.com/jwt", True),
        ("example.com", "https://auth.example.com/token", True),
        ("docker.io", "https://auth.docker.io/token", True),
        ("docker.io", "https://docker.io.evil.test/token", False),
        ("registry.example.com", "https://auth.example.com/token", False),
        ("registry.example.com", "https://evil.test/token", False),
        ("registry.example.com", "https://registry.example.com.evil.test/", False),
        ("registry.example.com", "https://com/", False),
        ("registry.example.com", "https://registry.example.com:8443/token", False),
    ],
)
def test_threat_34_a_realm_may_have_credentials_only_where_it_belongs_to_the_registry(
    registry_name: str, realm: str, may: bool
) -> None:
    session = RegistrySession(parse_reference(f"{registry_name}/web:1"), credentials)
    assert session._may_have_credentials(realm) is may
    session.close()


def test_threat_34_a_realm_without_tls_is_refused(tmp_path: Path, authority: trustme.CA) -> None:
    with registry() as server, registry() as plain:
        server.token, server.realm = "x", f"{plain.url}/token"
        source = content(server, tmp_path, authority)
        with pytest.raises(RegistryRefusedError, match="has no TLS"):
            ResolvableImage("web", source).platforms()
        source.close()
        assert plain.requests == []


def test_threat_34_a_layer_to_be_fetched_from_elsewhere_is_refused(tmp_path: Path, elsewhere: Registry) -> None:
    made = HandMade()
    made.manifest["layers"][0]["urls"] = [f"{elsewhere.url}/layer"]
    sources = ImageSources(Workspace(tmp_path / "w"), {"registry.test/web:1": made.layout(tmp_path / "layout")})
    with pytest.raises(ImageRefusedError, match="is to be fetched from elsewhere"):
        sources.image("registry.test/web:1").resolve("linux/amd64")
    assert elsewhere.requests == []


def test_threat_34_an_upload_is_not_sent_to_another_host(tmp_path: Path, elsewhere: Registry) -> None:
    made = HandMade()
    sources = ImageSources(Workspace(tmp_path / "w"), {"registry.test/web:1": made.layout(tmp_path / "layout")})
    image = sources.image("registry.test/web:1").resolve("linux/amd64")

    with registry() as server:
        handler = server.RequestHandlerClass

        class Astray(handler):  # type: ignore[valid-type, misc]
            def do_POST(self) -> None:  # noqa: N802  the standard library's name
                self.answer(202, Location=f"{elsewhere.url}/upload")

        server.RequestHandlerClass = Astray
        with pytest.raises(PushRefusedError, match="wants the blob sent to another host"):
            push_images([image], server.url, "apps/shop", {"Authorization": "Bearer x"})
    assert elsewhere.requests == []
