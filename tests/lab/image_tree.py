"""The guest's file tree: Debian packages, extracted, and the few things their maintainer scripts would have done."""

import os
import shutil
import subprocess
from pathlib import Path

from apt_sources import SUITE
from lab_images import LAB_FOLDER

PACKAGES = (
    "busybox-static",
    "ca-certificates",
    "conmon",
    "containernetworking-plugins",
    "crun",
    "curl",
    "dbus",
    "e2fsprogs",
    "iproute2",
    "iptables",
    "kmod",
    "mosquitto-clients",
    "nftables",
    "openssl",
    "procps",
    "python3",
    "python3-venv",
    "runc",
    "sqlite3",
    "systemd",
    "systemd-sysv",
    "udev",
)
KERNEL_PACKAGE = "linux-image-{architecture}"

# name: user and group id, as the packages' scripts would have made them
SYSTEM_USERS = {"messagebus": 101, "systemd-network": 998, "systemd-journal": 997, "systemd-timesync": 996}
SYSTEM_GROUPS = {"kvm": 105, "render": 106, "input": 107, "sgx": 108, "crontab": 109}

# What update-alternatives would have linked.
ALTERNATIVES = {
    "usr/bin/awk": "mawk",
    "usr/sbin/iptables": "iptables-nft",
    "usr/sbin/iptables-save": "iptables-nft-save",
    "usr/sbin/iptables-restore": "iptables-nft-restore",
    "usr/sbin/ip6tables": "ip6tables-nft",
    "usr/sbin/ip6tables-save": "ip6tables-nft-save",
    "usr/sbin/ip6tables-restore": "ip6tables-nft-restore",
}
FOLDERS = ("root", "run", "tmp", "var/tmp", "var/log", "proc", "sys", "dev", "mnt", "home", "opt", "srv")
SETTINGS = {
    "etc/hostname": "edge\n",
    # server.lab is where the forwards to the host's own services stand (qemu_command.SERVICES_ADDRESS)
    "etc/hosts": "127.0.0.1 localhost edge\n10.0.2.100 server.lab\n",
    "etc/resolv.conf": "nameserver 10.0.2.3\n",
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "etc/fstab": "/dev/vda / ext4 rw 0 1\n",
    "etc/systemd/network/10-lab.network": "[Match]\nName=e*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n",
    # Of 13 s that udev takes for all devices of an emulated arm64 machine, what a guest needs takes one.
    "etc/systemd/system/systemd-udev-trigger.service.d/lab.conf": "[Service]\nExecStart=\n"
    "ExecStart=-udevadm trigger --action=add --subsystem-match=net --subsystem-match=block\n",
}
NSSWITCH = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"
# Units that only cost time in a guest that lives for minutes.
MASKED_UNITS = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "serial-getty@ttyAMA0.service",
    "serial-getty@ttyS0.service",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-timesyncd.service",
    "systemd-udev-settle.service",
    "systemd-update-done.service",
)
UNWANTED = (
    "boot",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/lib/apt/lists",
)


def extract_packages(architecture: str, sources: list[str], root: Path) -> None:
    """Fetch and extract the packages and what they depend on into the new folder `root`."""
    included = [*PACKAGES, KERNEL_PACKAGE.format(architecture=architecture)]
    command = [
        "mmdebstrap",
        "--mode=root",
        "--variant=extract",
        f"--architectures={architecture}",
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
        "--skip=check/qemu",
        "--include=?essential",
        "--include=?priority(required)",
        f"--include={','.join(included)}",
        '--aptopt=APT::Install-Recommends "false"',
        SUITE,
        str(root),
        "-",
    ]
    subprocess.run(command, input="\n".join(sources) + "\n", capture_output=True, text=True, check=True)


def settle(root: Path) -> None:
    """Do what the maintainer scripts would have done, as far as a guest needs it."""
    for name in FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("tmp", "var/tmp"):
        (root / name).chmod(0o1777)
    _make_users(root)
    for link, target in ALTERNATIVES.items():
        _link(root / link, target)
    if not (root / "bin/sh").exists():
        _link(root / "bin/sh", "dash")
    _link(root / "var/run", "/run")
    _link(root / "var/lock", "/run/lock")
    _link(root / "etc/localtime", "/usr/share/zoneinfo/UTC")
    bundle = b"".join(path.read_bytes() for path in sorted((root / "usr/share/ca-certificates").rglob("*.crt")))
    (root / "etc/ssl/certs/ca-certificates.crt").write_bytes(bundle)
    if not (root / "etc/nsswitch.conf").exists():
        (root / "etc/nsswitch.conf").write_text(NSSWITCH)
    for name, text in SETTINGS.items():
        path = root / name
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _make_users(root: Path) -> None:
    base = root / "usr/share/base-passwd"
    users = (base / "passwd.master").read_text()
    groups = (base / "group.master").read_text()
    for name, number in SYSTEM_USERS.items():
        users += f"{name}:x:{number}:{number}::/nonexistent:/usr/sbin/nologin\n"
    for name, number in (SYSTEM_USERS | SYSTEM_GROUPS).items():
        groups += f"{name}:x:{number}:\n"
    (root / "etc/passwd").write_text(users)
    (root / "etc/group").write_text(groups)
    shadow = root / "etc/shadow"
    shadow.write_text("".join(f"{line.split(':')[0]}:*:19000:0:99999:7:::\n" for line in users.splitlines()))
    shadow.chmod(0o640)


def install_guest_files(root: Path) -> None:
    """Put our init, agent and unit into the tree."""
    guest = LAB_FOLDER / "guest"
    for source, target in (("init", "lab-init"), ("lab_agent.py", "lab-agent")):
        path = root / "usr/local/sbin" / target
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(guest / source, path)
        path.chmod(0o755)
    units = root / "etc/systemd/system"
    wants = units / "multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(guest / "lab-agent.service", units / "lab-agent.service")
    _link(wants / "lab-agent.service", "../lab-agent.service")
    _link(wants / "systemd-networkd.service", "/lib/systemd/system/systemd-networkd.service")
    for unit in MASKED_UNITS:
        _link(units / unit, "/dev/null")


def trim(root: Path) -> None:
    """Remove what no guest reads: it only makes the disk larger to write and to copy."""
    for name in UNWANTED:
        folder = root / name
        if folder.is_dir():
            shutil.rmtree(folder)
            folder.mkdir()
    for path in (root / "usr/lib/udev").glob("hwdb.*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _link(path: Path, target: str) -> None:
    """Make `path` a symbolic link to `target`, in place of whatever file or link stands there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    os.symlink(target, path)
