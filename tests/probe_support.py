"""A program of a few hundred bytes that makes system calls and says how each ended; it needs no compiler.

x86-64 only. For each call one letter: `E` EPERM, `N` ENOSYS, `.` anything else.
"""

from __future__ import annotations

import struct

BASE = 0x400000
CALLS = {
    "ptrace": 101, "syslog": 103, "personality": 135, "pivot_root": 155, "chroot": 161, "acct": 163, "mount": 165,
    "umount2": 166, "swapon": 167, "reboot": 169, "init_module": 175, "kexec_load": 246, "add_key": 248,
    "request_key": 249, "keyctl": 250, "unshare": 272, "move_pages": 279, "perf_event_open": 298, "setns": 308,
    "open_by_handle_at": 304, "process_vm_readv": 310, "bpf": 321, "userfaultfd": 323, "io_uring_setup": 425,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsmount": 432, "clone3": 435, "mount_setattr": 442,
    "getpid": 39,
}  # fmt: skip


def program(calls: list[tuple[int, int]]) -> bytes:
    """An ELF that makes each (number, first argument), writes its letters and waits."""
    code = b"\x48\x81\xec" + struct.pack("<I", 4096)  # sub rsp, 4096
    code += b"\x48\x89\xe3"  # mov rbx, rsp
    for number, argument in calls:
        code += b"\xb8" + struct.pack("<I", number)  # mov eax, number
        code += b"\x48\xbf" + struct.pack("<Q", argument)  # mov rdi, argument
        code += b"\x31\xf6\x31\xd2\x4d\x31\xd2\x4d\x31\xc0\x4d\x31\xc9\x0f\x05"  # other arguments 0; syscall
        code += b"\xc6\x03." + b"\x83\xf8\xff\x75\x03\xc6\x03E"  # mov byte [rbx], '.'; eax == -1: 'E'
        code += b"\x83\xf8\xda\x75\x03\xc6\x03N"  # eax == -38: 'N'
        code += b"\x48\xff\xc3"  # inc rbx
    code += b"\xc6\x03\x0a"  # newline
    code += b"\xb8\x01\0\0\0\xbf\x01\0\0\0\x48\x89\xe6\xba" + struct.pack("<I", len(calls) + 1) + b"\x0f\x05"  # write
    code += b"\xb8\x22\0\0\0\x0f\x05"  # pause
    start = BASE + 64 + 56
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, start, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    size = 64 + 56 + len(code)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, size, size, 4096)
    return head + segment + code
