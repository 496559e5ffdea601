"""What stays on every edge host: the real keeper, connected over mutual TLS, measured after its first report."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from keeper_broker import Broker
from keeper_server import Server
from keeper_support import KeeperProcess
from runtime_support import wait_for

from edge_daemon.keeper.runtime import groups, namespaces
from edge_daemon.keeper.runtime.hierarchies import detect
from edge_daemon.layout import Layout

pytestmark = pytest.mark.alone

MOST_KB = 20 * 1024

OURS = {
    "edge_daemon", "edge_daemon.layout", "edge_daemon.sealed",
    "fleet_protocol", "fleet_protocol.wire", "fleet_protocol.wire.bounds", "fleet_protocol.wire.durable",
    "fleet_protocol.wire.errors", "fleet_protocol.wire.strict_json", "fleet_protocol.wire.topics",
}  # fmt: skip
PAHO = {
    "paho", "paho.mqtt", "paho.mqtt._packet", "paho.mqtt.client", "paho.mqtt.enums", "paho.mqtt.exception",
    "paho.mqtt.matcher", "paho.mqtt.packettypes", "paho.mqtt.properties", "paho.mqtt.reasoncodes",
    "paho.mqtt.subscribeoptions",
}  # fmt: skip
TOO_MUCH = {
    "asyncio", "ctypes", "dataclasses", "subprocess", "urllib.request", "http.client", "email", "argparse", "inspect",
    "importlib.metadata", "multiprocessing", "concurrent.futures", "unittest", "decimal",
}  # fmt: skip


@pytest.fixture(scope="module")
def running() -> Iterator[KeeperProcess]:
    """The keeper in a network namespace of its own, with the bytecode that an installation makes."""
    load = "import edge_daemon.keeper.keeper, edge_daemon.keeper.machine"
    subprocess.run([sys.executable, "-I", "-OO", "-c", load], check=True)  # -I: it is written whatever the environment
    parent = f"/roadstead-test-{os.getpid()}-footprint"
    base = Path(tempfile.mkdtemp(prefix="rs-footprint-"))
    layout = Layout(base / "state", base / "run")
    layout.state.mkdir()
    (base / "broker").mkdir()
    with namespaces.inside(None):
        namespaces.set_up("lo", up=True)
        broker = Broker(base / "broker")
        broker.enrol(layout)
        broker.start()
        server = Server(broker)
        server.connect()
        words = ["--state-dir", str(layout.state), "--run-dir", str(layout.run), "--cgroup-parent", parent]
        keeper = KeeperProcess(layout, [sys.executable, "-m", "edge_daemon.keeper", *words]).start()
        try:
            server.reported(lambda r: r.host.get("runtime_version"))
            server.until(lambda: server.count("daemon.started"))
            yield keeper
        finally:
            keeper.end()
            server.close()
            broker.stop()
            for group in ("/daemon", "/prepare", "/apps", ""):
                groups.remove(detect(), parent + group)
            shutil.rmtree(base)


def test_the_keeper_loads_the_standard_library_paho_and_nothing_else(running: KeeperProcess) -> None:
    loaded = set(running.ask(ask="modules")["modules"])

    standard = {name for name in loaded if name.partition(".")[0] in sys.stdlib_module_names or name == "__main__"}
    keeper = {name for name in loaded if f"{name}.".startswith("edge_daemon.keeper.")}
    assert sorted(loaded - standard - keeper - OURS - PAHO - {"_virtualenv", "_distutils_hack", "sitecustomize"}) == []
    assert sorted(loaded & TOO_MUCH) == []


def test_alone_on_the_machine_it_holds_at_most_20_mb(running: KeeperProcess) -> None:
    wait_for(lambda: running.ask(ask="status")["connected"], 10, "the connection")
    rollup = _fields((Path("/proc") / str(running.pid) / "smaps_rollup").read_text())
    alone, strict = _alone_kb(running.pid)

    print(
        f"\nkeeper: PSS {alone} kB with its broker alone on the machine, {rollup['Pss']} kB beside what runs here now, "
        f"anonymous {rollup['Pss_Anon']} kB, {strict} kB if nobody shared TLS with it, RSS {rollup['Rss']} kB"
    )
    assert rollup["Pss"] <= MOST_KB
    assert alone <= MOST_KB


def _fields(text: str) -> dict[str, int]:
    rows = (line.split() for line in text.splitlines() if line.endswith(" kB"))
    return {row[0].rstrip(":"): int(row[1]) for row in rows}


def _alone_kb(pid: int) -> tuple[int, int]:
    """(PSS with no other Python on the machine, the same with no other user of OpenSSL either).

    Pytest and others map the same interpreter, which would halve its share. So every page counts in full, except
    those of the C library (their present share) and, in the first figure, OpenSSL's, halved with the one broker of
    this test.
    """
    alone = strict = 0
    name = ""
    kb: dict[str, int] = {}
    for line in [*(Path("/proc") / str(pid) / "smaps").read_text().splitlines(), "0-0 end"]:
        fields = line.split()
        if fields[0].endswith(":"):
            kb[fields[0]] = int(fields[1]) if fields[1].isdigit() else 0
            continue
        if kb:
            whole, shared = kb["Rss:"], kb["Rss:"] - kb["Anonymous:"]
            if name.startswith(("libc.so", "libc-", "ld-linux", "libm.so", "libm-")):
                whole, shared = kb["Pss:"], 0
            strict += whole
            alone += whole - (shared // 2 if name.startswith(("libcrypto", "libssl")) else 0)
        name, kb = Path(fields[5]).name if len(fields) > 5 else "", {}
    return alone, strict
