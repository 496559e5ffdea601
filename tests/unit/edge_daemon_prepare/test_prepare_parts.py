from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trust_support import release_value

from edge_daemon.prepare.addresses import assign, hosts_file, read_numbers, service_addresses, write_numbers
from edge_daemon.prepare.channel import Channel, RelayedError, error_frame, packed, unpacked
from edge_daemon.prepare.errors import FetchError, PrepareError, SealError
from edge_daemon.prepare.fetch import BACKOFF_CAP_S, backoff, download
from edge_daemon.prepare.garbage import parse_keep
from edge_daemon.prepare.helper import check_session_message
from edge_daemon.prepare.rootfs import MergedRoot
from edge_daemon.prepare.users import Identity, resolve_user
from fleet_protocol.documents.release import Release
from fleet_protocol.wire.errors import TrustError
from provisioning.proof import renewal_message, session_message

NONCE = "n" * 43


@given(st.integers(0, 10_000), st.floats(0, 0.999))
def test_backoff_grows_and_stays_within_its_cap(failures: int, chance: float) -> None:
    assert 0 < backoff(failures, chance=chance) <= BACKOFF_CAP_S
    assert backoff(failures, chance=chance) <= backoff(failures + 1, chance=chance)


class Source:
    """A blob that comes in pieces; each opening gives at most `per_answer` bytes."""

    def __init__(self, data: bytes, per_answer: int, *, ranges: bool = True) -> None:
        self.data, self.per_answer, self.ranges = data, per_answer, ranges
        self.opened: list[int] = []

    def __call__(self, offset: int) -> Stream:
        self.opened.append(offset)
        start = offset if self.ranges else 0
        return Stream(start, self.data[start : start + self.per_answer])


class Stream:
    def __init__(self, offset: int, data: bytes) -> None:
        self.offset, self._data = offset, data

    def read(self, at_most: int) -> bytes:
        out, self._data = self._data[:at_most], self._data[at_most:]
        return out

    def close(self) -> None:
        """Nothing to close."""


def fetched(source: Source, path: Path, data: bytes) -> None:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    download(source, path, digest, len(data), report=lambda _: None, pause=lambda _: None)


@given(st.binary(min_size=1, max_size=200), st.integers(0, 250), st.integers(1, 60))
def test_a_blob_arrives_whole_whatever_was_there_and_however_it_breaks(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, there: int, per_answer: int
) -> None:
    path = tmp_path_factory.mktemp("fetch") / "blob"
    path.write_bytes((data + b"\0" * 250)[:there])
    if len(data) > 50 * per_answer:
        per_answer = len(data)
    fetched(Source(data, per_answer), path, data)
    assert path.read_bytes() == data


def test_a_server_without_ranges_is_read_from_the_beginning(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"ab")
    source = Source(b"abcdef", 6, ranges=False)
    fetched(source, tmp_path / "blob", b"abcdef")
    assert source.opened == [2]


def test_bytes_that_are_not_the_signed_ones_are_refused_and_not_kept(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="not those that were signed"):
        fetched(Source(b"xxx", 3), tmp_path / "blob", b"abc")
    assert (tmp_path / "blob").read_bytes() == b""


def test_a_link_in_the_place_of_a_download_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "blob").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        fetched(Source(b"abc", 3), tmp_path / "blob", b"abc")


def test_numbers_of_apps_stay_and_free_ones_are_used_again(tmp_path: Path) -> None:
    file = tmp_path / "networks.json"
    assert read_numbers(file) == {}
    first = assign({}, ["a", "b", "c"])
    assert first == {"a": 1, "b": 2, "c": 3}
    write_numbers(file, first)
    assert read_numbers(file) == first
    assert assign({"a": 1, "c": 3}, ["d", "a"]) == {"a": 1, "c": 3, "d": 2}


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 0}', '{"a": true}', '{"a": 255}'])
def test_damaged_numbers_are_an_error_and_not_a_beginning(tmp_path: Path, text: str) -> None:
    (tmp_path / "n").write_text(text)
    with pytest.raises(SealError, match="is damaged"):
        read_numbers(tmp_path / "n")


def test_more_apps_than_addresses_are_refused() -> None:
    with pytest.raises(SealError, match="no address range is left"):
        assign({str(n): n for n in range(1, 255)}, ["one-more"])


def test_the_hosts_file_names_services_and_aliases() -> None:
    value = release_value()
    value["services"][0]["aliases"] = ["front"]
    value["services"].append({**value["services"][0], "name": "db", "aliases": [], "privileges": {"network": "none"}})
    release = Release.from_value(value)
    addresses = service_addresses(release, 7)
    assert addresses == {"web": "10.88.7.2"}
    assert hosts_file(release, addresses).decode().splitlines()[2:] == ["10.88.7.2\tweb front"]


@pytest.mark.parametrize("text", ["cam", "cam/x", "../" + "a" * 64, "cam/" + "A" * 64, "cam/" + "a" * 64 + "/x"])
def test_what_is_to_be_kept_is_never_misread(text: str) -> None:
    with pytest.raises(ValueError, match="is not app/revision"):
        parse_keep([text])


def test_a_session_of_this_device_is_all_that_its_key_signs() -> None:
    check_session_message(session_message("pump-3", NONCE), "pump-3")


@pytest.mark.parametrize(
    "message",
    [
        session_message("pump-4", NONCE),
        session_message("pump-3", "short"),
        session_message("pump-3", NONCE) + b"\0more",
        session_message("pump-3", NONCE + "\n"),
        renewal_message("pump-3", NONCE, b"csr"),
        b"",
        NONCE.encode(),
    ],
)
def test_nothing_else_is_signed(message: bytes) -> None:
    with pytest.raises(TrustError, match="no session"):
        check_session_message(message, "pump-3")


def test_an_error_crosses_the_channel_word_for_word() -> None:
    error = TrustError("said so", element="x", retry=True, hint="do this")
    left, right = socket.socketpair()
    with left, right:
        Channel(left).send(error_frame(error))
        frame = Channel(right).receive()
        assert frame is not None
        again = RelayedError(frame["refused"])
        assert (again.as_dict(), again.exit_status) == (error.as_dict(), error.exit_status)
        left.close()
        assert Channel(right).receive() is None


def test_what_is_no_data_is_refused() -> None:
    assert unpacked(packed(b"\0\xff")) == b"\0\xff"
    for bad in (None, 7, "*"):
        with pytest.raises(PrepareError, match="no data"):
            unpacked(bad)


@pytest.fixture
def root(tmp_path: Path) -> Callable[..., MergedRoot]:
    def make(*layers: dict[str, str]) -> MergedRoot:
        for number, files in enumerate(layers):
            for name, content in files.items():
                path = tmp_path / str(number) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
        return MergedRoot(tuple(tmp_path / str(n) for n in range(len(layers))))

    return make


PASSWD = "root:x:0:0::/:\nweb:x:101:102::/:\n"
GROUP = "root:x:0:\nweb:x:102:\nmore:x:103:root,web\n"


@pytest.mark.parametrize(
    ("spec", "ids"),
    [
        ("", Identity(0, 0, (103,))),
        ("0", Identity(0, 0, (103,))),
        ("web", Identity(101, 102, (103,))),
        ("101", Identity(101, 102, (103,))),
        ("500", Identity(500, 0, ())),
        ("500:600", Identity(500, 600, ())),
        ("web:more", Identity(101, 103, ())),
    ],
)
def test_users_are_resolved_as_in_the_image(root: Callable[..., MergedRoot], spec: str, ids: Identity) -> None:
    tree = root({"etc/passwd": "old:x:1:1::/:\n"}, {"etc/passwd": PASSWD, "etc/group": GROUP})
    assert resolve_user(spec, tree, "cam.web") == ids


def test_layers_are_merged_as_overlayfs_does(tmp_path: Path, root: Callable[..., MergedRoot]) -> None:
    tree = root({"a/x": "low", "a/y": "low", "b/z": "low"}, {"a/x": "high", "b/n": "high"})
    assert (tree.read_text("/a/x"), tree.read_text("/a/y")) == ("high", "low")
    os.mknod(tmp_path / "1" / "a" / "y", 0o20600, 0)
    assert tree.read_text("/a/y") == ""
    os.setxattr(tmp_path / "1" / "b", "trusted.overlay.opaque", b"y")
    assert (tree.read_text("/b/z"), tree.read_text("/b/n")) == ("", "high")
    assert tree.read_text("/a") == ""
    assert tree.read_text("/a/x/below") == ""
