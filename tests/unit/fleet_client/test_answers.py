"""Answers that no fleet-server gives: something else may sit at that address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fleet_client.api import FleetClient
from fleet_client.contexts import ContextError
from fleet_client.http import Connection, ServerSaidError, pinned_tls, server_address
from fleet_protocol.wire.errors import Exit, UnreachableError


class Answering(Connection):
    """A connection whose answer is made up."""

    def __init__(self, data: bytes) -> None:
        self._data, self._where = data, "https://lab:8443"

    def raw(self, *_: Any, **__: Any) -> tuple[int, bytes]:
        return 200, self._data


def client(data: bytes) -> FleetClient:
    made = FleetClient.__new__(FleetClient)
    made.connection = Answering(data)
    return made


@pytest.mark.parametrize("data", [b"<html>hello</html>", b"\xff", b"[" * 100_000, b"[]", b"{}", b'{"items": 1}', b""])
def test_an_answer_in_another_shape_is_a_server_that_is_not_there(data: bytes) -> None:
    with pytest.raises(UnreachableError) as caught:
        client(data).devices()
    assert caught.value.exit_status == Exit.UNREACHABLE


@pytest.mark.parametrize(("url", "where"), [("https://a", ("a", 443)), ("https://[::1]:8443/", ("::1", 8443))])
def test_an_address_is_a_host_and_a_port(url: str, where: tuple[str, int]) -> None:
    assert server_address(url) == where


@pytest.mark.parametrize("url", ["", "a:1", "http://a", "https://", "https://a:x", "https://a:65536", "https://u@a", "https://a/b", "https://a?b", "https://[::1"])  # fmt: skip  # noqa: E501
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ContextError, match="https://HOST:PORT"):
        server_address(url)


def test_a_ca_file_without_a_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for path, words in ((tmp_path / "ca.pem", "no certificate"), (tmp_path, "directory"), (tmp_path / "x", "No such")):
        with pytest.raises(ContextError, match=words):
            pinned_tls(path)


@pytest.mark.parametrize(
    ("status", "code", "ends"),
    [(404, "E0904", Exit.NOT_FOUND), (409, "E0905", Exit.CONFLICT), (422, "E0205", Exit.TRUST), (500, "", Exit.OTHER)],
)
def test_the_servers_own_words_decide_the_exit_status(status: int, code: str, ends: Exit) -> None:
    assert ServerSaidError(status, {"code": code, "reason": "x"}).exit_status == ends
