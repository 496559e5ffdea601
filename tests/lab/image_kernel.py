"""The guest's kernel, its modules, and the initrd that reaches the root disk.

amd64: the kernel is unpacked from its bzImage and started by QEMU's PVH loader. Measured under software
emulation: 5.3-6.0 s from power-on to the first program with vmlinuz, 2.2-2.5 s with vmlinux; what is saved
is the emulated unpacking of xz. arm64's Image is not compressed by itself and boots as it is.
"""

import lzma
import shutil
import struct
import subprocess
from pathlib import Path

from lab_images import LAB_FOLDER
from prerequisites import find_command

# Of 400 MB of modules, those that virtio, containers and their networks use; folders or single files.
NEEDED_MODULES = (
    "arch",
    "block",
    "crypto",
    "drivers/block",
    "drivers/char/hw_random",
    "drivers/char/virtio_console.ko",
    "drivers/dax",
    "drivers/md",
    "drivers/net/dummy.ko",
    "drivers/net/ifb.ko",
    "drivers/net/ipvlan",
    "drivers/net/macvlan.ko",
    "drivers/net/net_failover.ko",
    "drivers/net/tun.ko",
    "drivers/net/veth.ko",
    "drivers/net/virtio_net.ko",
    "drivers/net/vxlan",
    "drivers/virtio",
    "drivers/watchdog/i6300esb.ko",
    "drivers/watchdog/softdog.ko",
    "fs/9p",
    "fs/autofs",
    "fs/binfmt_misc.ko",
    "fs/configfs",
    "fs/ext4",
    "fs/fat",
    "fs/fscache",
    "fs/fuse",
    "fs/isofs",
    "fs/jbd2",
    "fs/mbcache.ko",
    "fs/netfs",
    "fs/nls",
    "fs/overlayfs",
    "fs/squashfs",
    "lib",
    "mm",
    "net",  # with netfilter: nf_tables, nft_*, xt_*, iptable_*, bridge, br_netfilter
)
# Loaded by the initrd; a name that is built into the kernel, or unknown to it, is passed over.
INITRD_MODULES = (
    "virtio_pci",
    "virtio_mmio",
    "virtio_blk",
    "ext4",
    "crc32c_generic",
    "virtio_net",
    "virtio_console",
    "virtio_rng",
    "9pnet_virtio",
    "9p",
    "overlay",
)
# Offsets in a bzImage's header (Linux, Documentation/x86/boot.rst).
SETUP_SECTORS_AT, MAGIC_AT, PAYLOAD_AT = 0x1F1, 0x202, 0x248
SECTOR = 512


class KernelFormatError(Exception):
    """The kernel file is not the bzImage with an xz payload that Debian 12 ships."""


def take_kernel(root: Path, architecture: str, target: Path) -> str:
    """Write the kernel of the tree `root` to `target`, in the form QEMU starts soonest; return its version."""
    [compressed] = (root / "boot").glob("vmlinuz-*")
    image = compressed.read_bytes()
    target.write_bytes(unpack_bzimage(image) if architecture == "amd64" else image)
    return compressed.name.removeprefix("vmlinuz-")


def unpack_bzimage(image: bytes) -> bytes:
    """The ELF kernel inside a bzImage; raises KernelFormatError when it is anything else."""
    if image[MAGIC_AT : MAGIC_AT + 4] != b"HdrS":
        raise KernelFormatError("the kernel file has no bzImage header")
    offset, _length = struct.unpack_from("<II", image, PAYLOAD_AT)
    start = (image[SETUP_SECTORS_AT] + 1) * SECTOR + offset
    try:
        # The payload's length counts four more bytes, the unpacked size: the stream's own end is used instead.
        kernel = lzma.LZMADecompressor(format=lzma.FORMAT_XZ).decompress(image[start:])
    except lzma.LZMAError as error:
        raise KernelFormatError(f"the kernel's payload is not xz: {error}") from error
    if not kernel.startswith(b"\x7fELF"):
        raise KernelFormatError("the kernel's payload is not an ELF file")
    return kernel


def keep_needed_modules(root: Path, version: str) -> None:
    """Leave only the needed modules in the tree, with indexes that know them."""
    modules = root / "usr/lib/modules" / version
    everything = modules.with_name("all")
    modules.rename(everything)
    for name in NEEDED_MODULES:
        source, target = everything / "kernel" / name, modules / "kernel" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        elif source.is_file():
            shutil.copyfile(source, target)
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        shutil.copyfile(everything / name, modules / name)
    shutil.rmtree(everything)
    depmod = find_command("depmod") or "depmod"
    subprocess.run([depmod, "-b", str(root), version], check=True, capture_output=True, text=True)


def pack_initrd(root: Path, version: str, draft: Path, target: Path) -> None:
    """Write an initrd of busybox, our script and the modules that reach the root disk; `draft` is a new folder."""
    for name in ("bin", "modules", "newroot", "proc", "sys", "dev"):
        (draft / name).mkdir(parents=True)
    shutil.copy(root / "usr/bin/busybox", draft / "bin/busybox")
    shutil.copyfile(LAB_FOLDER / "guest/initrd-init", draft / "init")
    (draft / "init").chmod(0o755)
    order = _in_load_order(root, version)
    for path in order:
        shutil.copyfile(path, draft / "modules" / path.name)
    (draft / "modules/order").write_text("".join(f"{path.name}\n" for path in order))
    names = "".join(f"{path.relative_to(draft)}\n" for path in sorted(draft.rglob("*")))
    with target.open("wb") as file:
        subprocess.run(
            ["cpio", "-o", "-H", "newc", "--quiet"],
            input=names.encode(),
            stdout=file,
            stderr=subprocess.PIPE,
            cwd=draft,
            check=True,
        )


def _in_load_order(root: Path, version: str) -> list[Path]:
    """The files of the initrd's modules and of all they depend on, each once, dependencies first."""
    modprobe = find_command("modprobe") or "modprobe"
    order: dict[Path, None] = {}
    for module in INITRD_MODULES:
        shown = subprocess.run(
            [modprobe, "-d", str(root), "-S", version, "--show-depends", module],
            capture_output=True,
            text=True,
            check=False,
        )
        for line in shown.stdout.splitlines():
            verb, _, path = line.partition(" ")
            if verb == "insmod":
                order[Path(path.strip())] = None
    return list(order)
