"""What stays on every edge host for ever: the real keeper, connected over mutual TLS, measured after its first report."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from keeper_support import Broker, KeeperProcess, Server
from runtime_support import wait_for

from edge_daemon.keeper.runtime import groups, namespaces
from edge_daemon.keeper.runtime.hierarchies import detect
from edge_daemon.layout import Layout

ROOT = Path(__file__).parents[2]
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
    """The keeper as systemd starts it, in a network namespace of its own, with its own copy of the bytecode made."""
    compiled = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    packages = [str(ROOT / "edge_daemon"), str(ROOT / "fleet_protocol")]
    for optimise in ("0", "2"):
        subprocess.run(
            [sys.executable, "-m", "compileall", "-q", "-o", optimise, *packages, str(Path(sys.prefix) / "lib")],
            env=compiled, check=False, stdout=subprocess.DEVNULL,
        )  # fmt: skip
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
    assert sorted(loaded - standard - keeper - OURS - PAHO - {"_virtualenv", "_distutils_hack"}) == []
    assert sorted(loaded & TOO_MUCH) == []


def test_alone_on_the_machine_it_holds_at_most_20_mb(running: KeeperProcess) -> None:
    wait_for(lambda: running.ask(ask="status")["connected"], 10, "the connection")
    rollup = _fields((Path("/proc") / str(running.pid) / "smaps_rollup").read_text())
    alone = _alone_kb(running.pid)

    print(f"\nkeeper: {alone} kB alone, Pss {rollup['Pss']} kB beside others, anonymous {rollup['Pss_Anon']} kB, "
          f"Rss {rollup['Rss']} kB")  # fmt: skip
    assert rollup["Pss"] <= MOST_KB
    assert alone <= MOST_KB


def _fields(text: str) -> dict[str, int]:
    rows = (line.split() for line in text.splitlines() if line.endswith(" kB"))
    return {row[0].rstrip(":"): int(row[1]) for row in rows}


def _alone_kb(pid: int) -> int:
    """PSS as it would be with no other Python on the machine: pages shared with others count in full, except those of the
    C library, which every process on every machine shares."""
    total, name = 0, ""
    for line in (Path("/proc") / str(pid) / "smaps").read_text().splitlines():
        fields = line.split()
        if not fields[0].endswith(":"):
            name = Path(fields[5]).name if len(fields) > 5 else ""
        elif fields[0] == ("Pss:" if name.startswith(("libc.so", "libc-", "ld-linux", "libm.so", "libm-")) else "Rss:"):
            total += int(fields[1])
    return total
