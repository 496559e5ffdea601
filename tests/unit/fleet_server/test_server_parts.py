"""The small parts: queue, gaps, backoff, sessions, configuration, server.toml, codes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server_support import release_facts

from fleet_protocol.wire.errors import DocumentInvalidError, RoadsteadError, TrustError
from fleet_server import errors
from fleet_server.config import Layout, ServerConfig, host_port, load_config
from fleet_server.configuration import UnfitValueError, configured
from fleet_server.errors import SetupError, http_status
from fleet_server.mqtt.link import BACKOFF_S, backoff
from fleet_server.mqtt.queue import DesiredQueue
from fleet_server.mqtt.spools import MAX_GAPS, SpoolGaps
from fleet_server.sessions import LIFE_S, MAX_PER_DEVICE, Sessions

ROOT = Path(__file__).parents[3]


def test_the_queue_holds_each_device_once_and_keeps_its_pace() -> None:
    queue = DesiredQueue(per_second=10, burst=3)
    woken: list[int] = []
    queue.wake = lambda: woken.append(1)
    queue.put(["a", "b", "c", "d", "a"])
    assert woken == [1]
    assert queue.take(100, 0.0) == ["a", "b", "c"]
    assert queue.take(100, 0.0) == []
    assert queue.take(100, 0.1) == ["d"]
    assert queue.waiting() == 0
    queue.put(["x", "y"])
    assert queue.take(1, 100.0) == ["x"]


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_waiting_grows_and_is_bounded(failures: int, chance: float) -> None:
    assert 0 < backoff(failures, chance=chance) <= BACKOFF_S[1]


def test_gaps_are_bounded_in_number() -> None:
    gaps = SpoolGaps()
    for n in range(MAX_GAPS + 10):
        assert gaps.arrived((f"d{n}", "s"), 5, 0, 0.0) is None
    assert len(gaps._gaps) == MAX_GAPS


def test_sessions_end_by_time_by_number_and_by_revocation() -> None:
    sessions = Sessions()
    first = sessions.open("cam-1", 0)
    assert sessions.device(first, LIFE_S - 1) == "cam-1"
    assert sessions.device(first, LIFE_S) is None
    assert sessions.device("rsd_other", 0) is None
    tokens = [sessions.open("cam-1", 10) for _ in range(MAX_PER_DEVICE)]
    assert sessions.device(first, 10) is None
    other = sessions.open("cam-2", 10)
    sessions.end("cam-1")
    sessions.end("cam-1")
    assert [sessions.device(token, 10) for token in tokens] == [None] * MAX_PER_DEVICE
    assert sessions.device(other, 10) == "cam-2"
    sessions.open("cam-3", 10 + LIFE_S)
    assert len(sessions._sessions) == 1


@pytest.mark.parametrize(
    ("template", "value"),
    [("{label.site}", "lab"), ("{label}{site}", "{label}{site}"), ("a-{label.site}-{label.site}", "a-lab-lab")],
)
def test_only_whole_placeholders_are_replaced(template: str, value: str) -> None:
    release = release_facts(config={"K": {"service": "web", "env": "K"}}).release
    assert configured(release, {"K": template}, {"site": "lab"}).values == {"K": value}


def test_a_label_cannot_bring_a_placeholder_in() -> None:
    release = release_facts(config={"K": {"service": "web", "env": "K"}}).release
    labels = {"site": "x", "evil": "{label.site}"}
    assert configured(release, {"K": "{label.evil}"}, labels).values == {"K": "{label.site}"}


def test_no_reason_shows_a_value() -> None:
    release = release_facts(config={"K": {"service": "web", "env": "K", "secret": True, "pattern": "[0-9]+"}}).release
    with pytest.raises(UnfitValueError) as caught:
        configured(release, {"K": "hunter2"}, {})
    assert "hunter2" not in str(caught.value)


def test_the_configuration_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    config = ServerConfig(("a.example", "::1"), "https://a.example:8443", "::1", 8443, "a.example", 8883)
    layout = Layout(tmp_path)
    layout.config.write_text(config.to_toml().replace('"::1:8443"', '"[::1]:8443"'))
    assert load_config(layout) == config


@pytest.mark.parametrize("text", ["", "x", "x:", ":1", "x:99999", "x:-1", 5, None])
def test_what_is_no_address_is_refused(text: object) -> None:
    with pytest.raises(SetupError, match="wants HOST:PORT"):
        host_port(text, "listen")


def test_every_error_has_a_status_and_codes_are_used_once() -> None:
    kinds = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, errors.ServerError)]
    codes = [kind.code for kind in kinds]
    assert len(codes) == len(set(codes))
    assert http_status(DocumentInvalidError("x")) == 400
    assert http_status(TrustError("x")) == 422
    assert http_status(RoadsteadError("x")) == 422


def test_the_pure_parts_read_no_clock_file_or_socket() -> None:
    for name in ("plan", "view", "selection", "configuration", "manifests"):
        tree = ast.parse((ROOT / f"fleet_server/{name}.py").read_text())
        imported = {
            alias.name if isinstance(node, ast.Import) else str(node.module)
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert not imported & {"time", "os", "pathlib", "socket", "sqlite3", "random", "datetime"}, name


def test_no_log_line_can_hold_a_token() -> None:
    for path in (ROOT / "fleet_server").rglob("*.py"):
        for line in path.read_text().splitlines():
            assert not re.search(r"log\.\w+\(.*(token|secret|password)", line), f"{path}: {line}"
