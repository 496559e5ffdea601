"""The command line that starts one guest: a pure function of what the guest is, and where its files are.

Software emulation only (`-accel tcg`): /dev/kvm is not asked for, even where it exists, so a run here and a run
on any other machine are the same guest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab_images import LabImage

SERVICES_ADDRESS = "10.0.2.100"  # where the guest finds the host's forwarded services; server.lab in its /etc/hosts
NETWORK_CARD = "net0"
AGENT_PORT = "lab.agent"
KERNEL_PARAMETERS = (
    "quiet panic=-1 cgroup_no_v1=all systemd.unified_cgroup_hierarchy=1 random.trust_cpu=on"
    " mitigations=off"  # they only cost time where the processor itself is emulated
)

# Nehalem and cortex-a72: `max` emulates more features, and boots arm64 three times slower.
_MACHINE = {
    "amd64": ["qemu-system-x86_64", "-machine", "q35,hpet=off,vmport=off", "-cpu", "Nehalem"],
    "arm64": ["qemu-system-aarch64", "-machine", "virt,gic-version=3", "-cpu", "cortex-a72"],
}
_CONSOLE = {"amd64": "console=ttyS0 tsc=reliable no_timer_check", "arm64": "console=ttyAMA0"}


@dataclass(frozen=True, slots=True)
class Share:
    """A folder of the host that the guest may read, at /mnt/<tag> once mounted. `cached`: it never changes."""

    tag: str
    folder: Path
    cached: bool = True


@dataclass(frozen=True, slots=True)
class HostSpec:
    """What a guest is. A twin must have the architecture, memory, cpus and shares' tags of its snapshot."""

    architecture: str
    memory_mib: int = 1024
    cpus: int = 1
    init: str | None = None  # None: our small init; SYSTEMD: systemd
    shares: tuple[Share, ...] = ()
    forwards: Mapping[int, int] = field(default_factory=dict)  # guest's port: port on the machine's 127.0.0.1


@dataclass(frozen=True, slots=True)
class HostFiles:
    """Where one guest's own files are, all in one folder."""

    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "disk.qcow2"

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    @property
    def qemu_log(self) -> Path:
        return self.folder / "qemu.log"

    @property
    def agent(self) -> Path:
        return self.folder / "agent.sock"

    @property
    def monitor(self) -> Path:
        return self.folder / "monitor.sock"


def qemu_command(spec: HostSpec, files: HostFiles, image: LabImage, *, clock: str | None, busybox: str) -> list[str]:
    """The arguments to run.

    `clock` (UTC, 1970-01-01T00:00:00) is what the guest's clock shows at power-on; None: the right time.
    `busybox` is the path of the program whose nc carries each forwarded connection.
    """
    return [
        # The kernel ends QEMU when the thread that started it ends: a killed test run leaves no guest behind.
        *("setpriv", "--pdeathsig", "KILL", "--"),
        *_MACHINE[spec.architecture],
        *("-accel", "tcg,thread=multi,tb-size=512", "-m", str(spec.memory_mib), "-smp", str(spec.cpus)),
        # -no-reboot: a guest that reboots ends QEMU, and EdgeHost starts it anew
        *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-rtc", f"base={clock or 'utc'}"),
        *("-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", _kernel_parameters(spec)),
        *("-chardev", f"file,id=console,path={files.console},append=on", "-serial", "chardev:console"),
        *_disk(files),
        *("-device", "virtio-serial-pci", "-chardev", f"socket,id=agent,path={files.agent},server=on,wait=off"),
        *("-device", f"virtserialport,chardev=agent,name={AGENT_PORT}"),
        *("-chardev", f"socket,id=monitor,path={files.monitor},server=on,wait=off"),
        *("-mon", "chardev=monitor,mode=control"),
        *("-device", "virtio-rng-pci"),
        *_shares(spec.shares),
        *_network(spec.forwards, busybox),
    ]


def _kernel_parameters(spec: HostSpec) -> str:
    init = f" lab.init={spec.init}" if spec.init else ""
    return f"{_CONSOLE[spec.architecture]} {KERNEL_PARAMETERS}{init}"


def _disk(files: HostFiles) -> list[str]:
    # cache=unsafe: a guest's flush ends in the machine's page cache, not on its disk. Killing QEMU still loses
    # all that the guest had not flushed; only a power cut of the machine itself would lose more.
    drive = f"file={files.disk},format=qcow2,if=none,id=disk0,cache=unsafe,discard=unmap"
    return ["-drive", drive, "-device", "virtio-blk-pci,drive=disk0"]


def _shares(shares: tuple[Share, ...]) -> list[str]:
    arguments: list[str] = []
    for number, share in enumerate(shares):
        options = "security_model=none,readonly=on,multidevs=remap"
        arguments += ["-virtfs", f"local,path={share.folder},mount_tag={share.tag},id=share{number},{options}"]
    return arguments


def _network(forwards: Mapping[int, int], busybox: str) -> list[str]:
    # restrict=on: the guest reaches nothing at all but the forwards. cmd: QEMU starts one nc for each connection
    # (a tcp: forward would share one connection between all). Measured: 100 MQTT sessions over TLS at once, no nc
    # left after their end or after a power cut; 45-70 MB/s of plain HTTP.
    options = [f"user,id={NETWORK_CARD},restrict=on,ipv6=off"]
    for guest_port, host_port in forwards.items():
        options.append(f"guestfwd=tcp:{SERVICES_ADDRESS}:{guest_port}-cmd:{busybox} nc 127.0.0.1 {host_port}")
    return ["-netdev", ",".join(options), "-device", f"virtio-net-pci,netdev={NETWORK_CARD},romfile="]
