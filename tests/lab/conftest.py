"""The lab's fixtures; README.md tells how to use them."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from edge_host import EdgeHost
from lab_images import ARCHITECTURES
from product_center import Center
from qemu_command import HostSpec
from snapshots import Snapshots, StartEdgeHost, scratch_folder, shares, sweep_scratch
from wheelhouse import Wheelhouse, edge_requirements, wheel_folder

PLATFORMS = {"amd64": "linux/amd64", "arm64": "linux/arm64"}
HERE = Path(__file__).parent
CHOSEN = os.environ.get("LAB_ARCHITECTURES", " ".join(ARCHITECTURES)).split()
TEST_TIMEOUT_S = (
    600  # unless the test says otherwise: an emulated processor is about 13 times slower than this machine's own
)


def pytest_configure(config: pytest.Config) -> None:
    """Know the marker also when the project's own configuration is not in use."""
    config.addinivalue_line("markers", "lab: needs a virtual machine (run by `./dev test --lab`)")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark every test of this folder, before `-m` chooses."""
    for item in items:
        if HERE not in item.path.parents:
            continue
        item.add_marker(pytest.mark.lab)
        if config.pluginmanager.hasplugin("timeout") and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT_S))


@pytest.fixture(params=CHOSEN)
def arch(request: pytest.FixtureRequest) -> str:
    """Runs the test once for each architecture: `amd64`, `arm64`."""
    return str(request.param)


@pytest.fixture(scope="session")
def wheelhouse() -> Wheelhouse:
    """Wheels for a guest, made by pip on this machine."""

    def make(architecture: str, requirements: Sequence[str] | None = None) -> Path:
        return wheel_folder(architecture, edge_requirements() if requirements is None else requirements)

    return make


@pytest.fixture(scope="session")
def lab_snapshots() -> Iterator[Snapshots]:
    """The snapshots of this session; each is made when the first test needs it."""
    sweep_scratch()
    snapshots = Snapshots()
    yield snapshots
    snapshots.close()


@pytest.fixture
def start_edge_host(arch: str, lab_snapshots: Snapshots, wheelhouse: Wheelhouse) -> Iterator[StartEdgeHost]:
    """Starts hosts of the test's architecture, any number of them."""
    started: list[EdgeHost] = []

    def start(*, forwards: Mapping[int, int] | None = None, init: str | None = None) -> EdgeHost:
        folder = scratch_folder("host")
        (folder / "exchange").mkdir()
        spec = HostSpec(
            arch, init=init, shares=shares(wheelhouse(arch), folder / "exchange"), forwards=dict(forwards or {})
        )
        host = EdgeHost(spec, folder)
        started.append(host)
        return host.restore(lab_snapshots.disk(spec)).mount()

    yield start
    for host in started:
        host.power_cut()
        print(f"console of {host.files.folder.name}:\n{host.console()}")  # pytest shows it when the test failed
        shutil.rmtree(host.files.folder, ignore_errors=True)


@pytest.fixture
def edge_host(start_edge_host: StartEdgeHost) -> EdgeHost:
    """One running host without forwards."""
    return start_edge_host()


@pytest.fixture
def center(start_edge_host: StartEdgeHost, arch: str) -> Iterator[Center]:
    """The central side, its image made of the guest's own busybox."""
    donor = start_edge_host()
    busybox = donor.get("/usr/bin/busybox")
    donor.power_cut()
    with Center({PLATFORMS[arch]: busybox}) as made:
        yield made
        print(f"broker:\n{made.log('broker')}\nserver:\n{made.log('server')}")
