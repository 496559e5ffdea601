"""What stays on every edge host: the real keeper, connected over mutual TLS, measured after its first report.

It runs from a copy of the interpreter and its libraries that nothing else on the machine maps, so that what the kernel
says of its pages is what it would say if the keeper were alone.
"""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import tempfile
import time
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
WORK_S = 10.0  # of ordinary work after the idle pages went: what is in use comes back

OURS = {
    "edge_daemon", "edge_daemon.layout", "edge_daemon.sealed", "edge_daemon.slots",
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
    parent = f"/roadstead-test-{os.getpid()}-footprint"
    base = Path(tempfile.mkdtemp(prefix="rs-footprint-"))
    python, libraries = private_interpreter(base)
    load = "import edge_daemon.keeper.keeper, edge_daemon.keeper.machine"
    subprocess.run([python, "-I", "-OO", "-c", load], check=True)  # -I: it is written whatever the environment
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
        environment = {"LD_LIBRARY_PATH": str(libraries)}
        keeper = KeeperProcess(layout, [python, "-m", "edge_daemon.keeper", *words], environment=environment).start()
        try:
            server.reported(lambda r: r.host.get("runtime_version"))
            server.until(lambda: server.count("daemon.started"))
            yield keeper
        finally:
            keeper.end()
            server.close()
            broker.stop()
            for group in ("/daemon", "/prepare", "/apps", "/monitors", ""):
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
    status = Path("/proc") / str(running.pid) / "status"
    wait_for(lambda: _fields(status.read_text())["VmHWM"] - _fields(status.read_text())["VmRSS"] > 1024, 10, "settling")
    time.sleep(WORK_S)
    rollup = _fields((Path("/proc") / str(running.pid) / "smaps_rollup").read_text())
    alone = _alone_kb(running.pid)

    print(
        f"\nkeeper: PSS {alone} kB alone on the machine, {rollup['Pss']} kB beside what runs here now, "
        f"anonymous {rollup['Pss_Anon']} kB, RSS {rollup['Rss']} kB, "
        f"at its start {_fields(status.read_text())['VmHWM']} kB"
    )
    assert rollup["Pss"] <= MOST_KB
    assert alone <= MOST_KB


def private_interpreter(base: Path) -> tuple[str, Path]:
    """(python, the folder of its libraries): copies, with the packages of the one that runs this test."""
    import sqlite3  # noqa: F401
    import ssl  # noqa: F401 - so that its libraries are mapped here

    environment, libraries = base / "python", base / "libraries"
    subprocess.run([sys.executable, "-m", "venv", "--copies", "--without-pip", str(environment)], check=True)
    packages = next(environment.glob("lib/python3*/site-packages"))
    lines = [f"import site; site.addsitedir({folder!r})" for folder in site.getsitepackages()]
    (packages / "tree.pth").write_text("\n".join([*lines, ""]))
    libraries.mkdir()
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = Path(line.split(maxsplit=5)[-1])
        if path.name.startswith(("libpython", "libcrypto.so", "libssl.so", "libsqlite3.so")):
            shutil.copy(path, libraries / path.name)
            soname = ".".join(path.name.split(".so")[0:1]) + ".so." + path.name.split(".so.")[1].split(".")[0]
            for name in {soname, path.name} - {path.name}:
                (libraries / name).unlink(missing_ok=True)
                (libraries / name).symlink_to(path.name)
    return str(environment / "bin" / "python"), libraries


def _fields(text: str) -> dict[str, int]:
    rows = (line.split() for line in text.splitlines() if line.endswith(" kB"))
    return {row[0].rstrip(":"): int(row[1]) for row in rows}


def _alone_kb(pid: int) -> int:
    """PSS with nobody else on the machine but the C library's users: every other resident page counts in full."""
    total = 0
    name = ""
    kb: dict[str, int] = {}
    for line in [*(Path("/proc") / str(pid) / "smaps").read_text().splitlines(), "0-0 end"]:
        fields = line.split()
        if fields[0].endswith(":"):
            kb[fields[0]] = int(fields[1]) if fields[1].isdigit() else 0
            continue
        if kb:
            shared_by_all = name.startswith(("libc.so", "libc-", "ld-linux", "libm.so", "libm-"))
            total += kb["Pss:"] if shared_by_all else kb["Rss:"]
        name, kb = Path(fields[5]).name if len(fields) > 5 else "", {}
    return total
