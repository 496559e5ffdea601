"""Small parts: sealed files, dates, identity, namespaces, command line, children."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edge_daemon.keeper.children import Children
from edge_daemon.keeper.clock import boottime
from edge_daemon.keeper.dial import seconds_of
from edge_daemon.keeper.errors import StateError, WrongNetworkError
from edge_daemon.keeper.keeper import check_network, read_identity
from edge_daemon.keeper.main import Options, parse
from edge_daemon.keeper.reactor import Reactor, Signals
from edge_daemon.keeper.sealed_state import newest_generation, parse_index, read_index, read_revision, units_of
from edge_daemon.layout import Layout
from fleet_protocol.wire.errors import RoadsteadError

SHA = "ab" * 32


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "state", tmp_path / "run")


def index(**over: Any) -> bytes:
    apps = {"shop": {"revision": SHA, "seal": SHA, "release": "1.0"}}
    return json.dumps(
        {"schema": "roadstead/generation/v1", "generation": 3, "sha256": SHA, "apps": apps, "settings": {}} | over
    ).encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b"[]", "not of schema"),
        (index(schema="other"), "not of schema"),
        (index(generation=True), "generation wants int"),
        (index(apps={"../x": {}}), "'../x' is not an app's entry"),
        (
            index(apps={"shop": {"revision": "../../etc", "seal": SHA, "release": "1"}}),
            "revision of shop is not a hash",
        ),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_an_index_that_is_not_whole_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(StateError, match=words):
        parse_index(data, "generation 3")


def test_the_newest_generation_is_the_highest_with_an_index(layout: Layout) -> None:
    assert newest_generation(layout) is None
    for name in ("2", "10", "11", "draft"):
        (layout.generations / name).mkdir(parents=True)
    for number in (2, 10):
        layout.generation(number).write_bytes(index(generation=number))
    assert newest_generation(layout) == 10
    assert read_index(layout, 10)["generation"] == 10
    layout.generation(2).write_bytes(index(generation=5))
    with pytest.raises(StateError, match="says generation 5"):
        read_index(layout, 2)


def test_a_revision_is_read_only_as_it_was_sealed(layout: Layout) -> None:
    service = {
        "name": "web", "image": "", "depends_on": {"db": "healthy"}, "restart_policy": "on-failure", "restart_max": 3,
        "stop_signal": "SIGINT", "stop_grace_s": 4,
    }  # fmt: skip
    value = {
        "schema": "roadstead/revision/v1", "app": "shop", "revision": SHA, "release": "1.0", "health_window_s": 5,
        "max_restarts": 1, "services": [service, service | {"name": "db"}], "start_order": ["db", "web"],
    }  # fmt: skip
    data = json.dumps(value).encode()
    folder = layout.revision("shop", SHA)
    folder.mkdir(parents=True)
    (folder / "revision.json").write_bytes(data)

    units = units_of(read_revision(layout, "shop", SHA, hashlib.sha256(data).hexdigest()))

    assert [u.name for u in units] == ["db", "web"]
    assert tuple(units[1])[:6] == ("web", (("db", "healthy"),), "on-failure", 3, "SIGINT", 4.0)
    with pytest.raises(StateError, match="is not what was sealed"):
        read_revision(layout, "shop", SHA, SHA)
    (folder / "revision.json").write_bytes(json.dumps(value | {"start_order": ["db"]}).encode())
    with pytest.raises(StateError, match="start order"):
        read_revision(layout, "shop", SHA, None)


@pytest.mark.parametrize("text", ["Jan  5 09:34:43 2028 GMT", "Dec 31 23:59:59 2049 GMT", "Feb 29 00:00:00 2028 GMT"])
def test_a_certificates_date_is_what_ssl_says(text: str) -> None:
    assert seconds_of(text) == ssl.cert_time_to_seconds(text)


@pytest.mark.parametrize(
    "text", ["", "Jan  5 09:34:43 2028 CET", "Foo  5 09:34:43 2028 GMT", "Jan 35 09:34:43 2028 GMT"]
)
def test_what_is_no_date_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        seconds_of(text)


def test_another_network_namespace_is_refused(tmp_path: Path) -> None:
    check_network(None)
    check_network(Path("/proc/self/ns/net"))
    with pytest.raises(WrongNetworkError, match="another network namespace"):
        check_network(Path("/proc/self/ns/uts"))
    with pytest.raises(WrongNetworkError, match="No such file"):
        check_network(tmp_path / "gone")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "not enrolled"),
        ("{", "cannot be read"),
        ("{}", "cannot be read"),
        ('{"device_id": "a/b"}', "cannot be read"),
    ],
)
def test_a_host_without_an_identity_says_so(layout: Layout, content: str | None, words: str) -> None:
    layout.identity.mkdir(parents=True)
    if content is not None:
        layout.identity_json.write_text(content)
    with pytest.raises(StateError, match=words):
        read_identity(layout)


def test_options_survive_their_way_through_the_command_line() -> None:
    for options in (
        Options(Path("/s"), Path("/r")),
        Options(Path("/s"), Path("/r"), "/g", "crun", Path("/run/netns/edge1"), cgroup_driver="systemd"),
    ):
        assert parse(options.words()) == options
    for words in (["--state-dir"], ["--state-dir", "/s"], ["--what", "x", "--state-dir", "/s", "--run-dir", "/r"]):
        with pytest.raises(RoadsteadError):
            parse(words)


# --- children


class Loop:
    def __init__(self) -> None:
        self.reactor = Reactor()
        self.signals = Signals(self.reactor, (signal.SIGCHLD,))
        self.children = Children(self.reactor)
        self.lines: list[bytes] = []
        self.ends: list[int] = []

    def spawn(self, code: str, **more: float) -> None:
        self.children.spawn(
            [sys.executable, "-I", "-S", "-c", code], self.lines.append, self.ends.append, now=boottime(), **more
        )

    def run(self, seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while not self.ends:
            assert time.monotonic() < end
            self.children.step(boottime())
            self.reactor.turn(0.1)
            self.children.reap()

    def close(self) -> None:
        self.signals.close()
        self.reactor.close()


@pytest.fixture
def loop() -> Any:
    made = Loop()
    yield made
    made.close()


def test_a_childs_lines_and_status_arrive_also_when_a_grandchild_keeps_its_output_open(loop: Loop) -> None:
    loop.spawn(
        "import os,sys,time\nif os.fork()==0: time.sleep(3); os._exit(0)\nprint('one'); print('two'); sys.exit(3)"
    )
    at = time.monotonic()
    loop.run()
    assert (loop.lines, loop.ends) == ([b"one", b"two"], [3])
    assert time.monotonic() - at < 2.5


def test_a_silent_child_is_asked_to_end(loop: Loop) -> None:
    loop.spawn("import time; time.sleep(100)", silence=0.3)
    loop.run()
    assert loop.ends == [-signal.SIGTERM]


def test_a_line_without_end_is_dropped_and_the_next_one_heard(loop: Loop) -> None:
    loop.spawn("import sys; sys.stdout.write('x' * 1000000 + chr(10) + 'heard' + chr(10))")
    loop.run()
    assert loop.lines == [b"heard"]


def test_a_child_has_no_input_and_no_signal_of_ours_ignored(loop: Loop) -> None:
    loop.spawn(
        "import sys; print(repr(sys.stdin.read()), open('/proc/self/status').read().split('SigIgn:')[1].split()[0])"
    )
    loop.run()
    text, ignored = loop.lines[0].decode().split()
    assert text == "''"
    assert int(ignored, 16) & (1 << (signal.SIGTERM - 1)) == 0
    assert os.getpgid(0) == os.getpgrp()
