"""Rows 36 to 40: what a layer may not do, against the real unpacker."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from oci_support import Entry, Layer, folder, link, tar, text
from unpack_support import UID_BASE, Store, tree


@pytest.mark.parametrize("name", ["../escaped", "a/../../escaped", "/../escaped", "./a/./../../../escaped"])
def test_a_name_that_leads_out_is_refused(store: Store, name: str) -> None:
    store.refuses([folder("a"), text(name, "x")], "leads out of the layer")


def test_an_absolute_name_lies_below_the_layer(store: Store) -> None:
    at = store.unpack([text("/etc/passwd", "inside")])
    assert (at / "etc/passwd").read_text() == "inside"
    store.untouched()


def test_a_file_through_a_symbolic_link_is_refused(store: Store) -> None:
    store.refuses([link("out", str(store.canary)), text("out/file", "changed")], "not a directory")


def test_a_file_over_a_symbolic_link_replaces_the_link(store: Store) -> None:
    at = store.unpack([link("out", str(store.canary / "file")), text("out", "changed")])
    assert (at / "out").is_file()
    assert not (at / "out").is_symlink()
    store.untouched()


def test_a_directory_over_a_symbolic_link_replaces_the_link(store: Store) -> None:
    at = store.unpack([link("out", str(store.canary)), folder("out"), text("out/file", "inside")])
    assert (at / "out/file").read_text() == "inside"
    store.untouched()


@pytest.mark.parametrize("to", ["../canary/file", "/../x", "a/../../b"])
def test_a_hard_link_that_leads_out_is_refused(store: Store, to: str) -> None:
    store.refuses([Entry("hard", type=tarfile.LNKTYPE, link=to)], "leads out of the layer")


def test_a_hard_link_through_a_symbolic_link_is_refused(store: Store) -> None:
    store.refuses(
        [link("out", str(store.canary)), Entry("hard", type=tarfile.LNKTYPE, link="out/file")], "not a directory"
    )


def test_a_hard_link_to_what_the_host_has_there_is_refused(store: Store) -> None:
    store.refuses(
        [Entry("hard", type=tarfile.LNKTYPE, link=str(store.canary / "file"))], "does not exist in this layer"
    )


def test_a_hard_link_to_a_symbolic_link_copies_the_link_and_not_what_it_names(store: Store) -> None:
    at = store.unpack([link("out", str(store.canary / "file")), Entry("hard", type=tarfile.LNKTYPE, link="out")])
    assert (at / "hard").is_symlink()
    store.untouched()


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "a/.wh..wh.plnk", ".wh..wh.aufs"])
def test_threat_37_a_whiteout_of_nothing_is_refused(store: Store, name: str) -> None:
    store.refuses([folder("a"), text(name)], "whiteout of nothing")


def test_threat_37_a_whiteout_of_the_root_is_refused(store: Store) -> None:
    store.refuses([text(".wh..wh..opq")], "the root itself")


def test_threat_37_an_opaque_mark_through_a_link_is_refused(store: Store) -> None:
    store.refuses([link("out", str(store.canary)), text("out/.wh..wh..opq")], "not a directory")


def test_threat_37_a_whiteout_does_not_remove_what_its_own_layer_has(store: Store) -> None:
    at = store.unpack([text("kept", "x"), text(".wh.kept"), folder("dir"), text("dir/a", "b"), text(".wh.dir")])
    assert (at / "kept").read_text() == "x"
    assert (at / "dir/a").read_text() == "b"
    assert os.getxattr(at / "dir", "trusted.overlay.opaque") == b"y"


def test_threat_37_a_whiteout_becomes_what_overlayfs_reads(store: Store) -> None:
    at = store.unpack([folder("d"), text("d/.wh.gone"), text(".wh.back"), folder("back"), text("back/new")])
    gone = (at / "d/gone").lstat()
    assert stat.S_ISCHR(gone.st_mode)
    assert gone.st_rdev == 0
    assert os.getxattr(at / "back", "trusted.overlay.opaque") == b"y"


@pytest.mark.parametrize(
    ("kind", "words"),
    [(tarfile.CHRTYPE, "character device"), (tarfile.BLKTYPE, "block device"), (tarfile.FIFOTYPE, "named pipe")],
)
def test_threat_38_devices_and_pipes_are_refused(store: Store, kind: bytes, words: str) -> None:
    store.refuses([Entry("dev/sda", type=kind, device=(8, 0))], words)


def test_threat_39_set_id_bits_and_attributes_are_not_kept(store: Store) -> None:
    entry = Entry(
        "bin/su", b"x", mode=0o6755, pax={"SCHILY.xattr.security.capability": "x", "SCHILY.xattr.user.a": "b"}
    )
    opaque = folder("data", pax={"SCHILY.xattr.trusted.overlay.opaque": "y"})
    at = store.unpack([entry, opaque])
    assert stat.S_IMODE((at / "bin/su").stat().st_mode) == 0o755
    assert os.listxattr(at / "bin/su") == []
    assert os.listxattr(at / "data") == []


def test_threat_39_owners_are_shifted_and_none_is_beyond_the_range(store: Store) -> None:
    at = store.unpack([text("f", "x", uid=0, gid=65535)])
    assert ((at / "f").stat().st_uid, (at / "f").stat().st_gid) == (UID_BASE, UID_BASE + 65535)
    assert at.stat().st_uid == UID_BASE


@pytest.mark.parametrize("uid", [65536, 4294967296])
def test_threat_39_an_owner_beyond_the_range_is_refused(store: Store, uid: int) -> None:
    store.refuses([text("f", "x", uid=uid)], "at most 65535 is allowed")


def test_threat_40_a_tree_too_deep_is_refused(store: Store) -> None:
    store.refuses([text("/".join(["d"] * 200), "x")], "directories deep")


def test_threat_40_a_name_too_long_is_refused(store: Store) -> None:
    store.refuses([text("/".join(["n" * 200] * 30), "x")], "bytes")


def test_threat_40_a_huge_extended_header_is_refused_before_it_is_read(store: Store) -> None:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 1 << 33
    store.refuses_tar(Layer(header.tobuf(tarfile.GNU_FORMAT) + b"\0" * 10240), "extended header of 8589934592 bytes")


def test_threat_40_many_entries_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_daemon.prepare.extract.MAX_ENTRIES", 50)
    store.refuses([text(f"f{i}") for i in range(60)], "more than 50 entries")


def test_threat_40_a_chain_of_extended_headers_is_refused(store: Store) -> None:
    block = tarfile.TarInfo.create_pax_global_header({"comment": "x"})
    local = block[:156] + b"x" + block[157:]
    checksum = sum(local[:148]) + 8 * 32 + sum(local[156:512])
    local = local[:148] + b"%06o\0 " % checksum + local[156:]
    store.refuses_tar(Layer(local * 5000), "not a readable tar")


def test_a_sparse_file_is_refused(store: Store) -> None:
    header = tarfile.TarInfo("sparse")
    header.type = tarfile.GNUTYPE_SPARSE
    store.refuses_tar(Layer(header.tobuf(tarfile.GNU_FORMAT) + b"\0" * 1024), "sparse")


def test_a_damaged_tar_is_refused(store: Store) -> None:
    good = bytearray(tar([text("a", "x"), text("b", "y")]))
    good[148:150] = b"77"
    store.refuses_tar(Layer(bytes(good)), "not a readable tar")


def test_bytes_after_the_end_of_the_archive_count_for_the_hash(store: Store) -> None:
    content = tar([text("a", "x")])
    store.refuses_tar(Layer(content + b"trailing"), "diff ID", diff_id=Layer(content).diff_id)


def test_the_store_is_not_reachable_through_what_it_holds(store: Store) -> None:
    at = store.unpack([link("root", "/"), link("up", "../../.."), text("f", "x")])
    assert tree(at)  # links are kept as they are written, and nothing of ours follows them
    assert stat.S_IMODE(store.layout.layers.stat().st_mode) == 0o711
    assert store.layout.layers.stat().st_uid == 0


def test_an_entry_listed_as_file_and_directory_is_refused(store: Store) -> None:
    store.refuses([folder("x"), text("x/a", "1"), text("x", "2")], "as a directory and as something else")


def test_an_unreadable_member_type_is_refused(store: Store) -> None:
    out = io.BytesIO()
    header = tarfile.TarInfo("odd")
    header.type = b"Z"
    out.write(header.tobuf(tarfile.GNU_FORMAT) + b"\0" * 1024)
    store.refuses_tar(Layer(out.getvalue()), "unknown type")


def test_what_a_killed_run_left_is_cleared(store: Store) -> None:
    draft = Path(store.layout.layers / ".draft-abc")
    (draft / "deep/er").mkdir(parents=True)
    store.images.open()
    assert os.listdir(store.layout.layers) == []
