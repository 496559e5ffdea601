from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from edge_daemon.keeper.runtime.page_out import clean_ranges

SMAPS = """\
5586a000-5586c000 r-xp 00001000 fe:00 2197346                    /usr/bin/python3.11
Rss:                   8 kB
Anonymous:             0 kB
5586c000-5586d000 r--p 00002000 fe:00 2197346                    /usr/bin/python3.11
Rss:                   4 kB
Anonymous:             4 kB
5586d000-5586e000 rw-p 00003000 fe:00 2197346                    /usr/bin/python3.11
Rss:                   4 kB
Anonymous:             0 kB
5586e000-5586f000 rw-p 00000000 00:00 0                          [heap]
Anonymous:             4 kB
7f0000000000-7f0000003000 r--p 00000000 fe:00 99                 /usr/lib/a name with blanks.so
Anonymous:             0 kB
7f0000010000-7f0000011000 r-xp 00000000 00:00 0                  [vdso]
Anonymous:             0 kB
7f0000020000-7f0000021000 r--s 00000000 fe:00 12                 /run/state.db-shm
Anonymous:             0 kB
"""


def test_only_what_can_be_read_again_from_a_file_is_given_back() -> None:
    assert clean_ranges(SMAPS) == [(0x5586A000, 0x2000), (0x7F0000000000, 0x3000)]
    assert clean_ranges("") == []


OWNER = """
import json, mmap, os, subprocess, sys
from pathlib import Path
file = open(sys.argv[1], "rb")
held = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
before = held[:: mmap.PAGESIZE]
pages = lambda: int(Path("/proc/self/statm").read_text().split()[1])
had = pages()
words = ["--state-dir", "/", "--run-dir", "/", "--cgroup-parent", "/x", "--runtime", "auto"]
command = [sys.executable, "-I", "-m", "edge_daemon.keeper.starter", "settle", *words]
said = [json.loads(subprocess.check_output([*command, str(pid)])) for pid in (1, os.getpid())]
print(json.dumps([said, had - pages(), held[:: mmap.PAGESIZE] == before]))
"""


def test_a_process_gets_its_idle_file_pages_taken_by_its_child_alone_and_reads_them_again(tmp_path: Path) -> None:
    big = tmp_path / "library"
    big.write_bytes(os.urandom(4 << 20))
    with big.open("rb") as file:
        os.fsync(file.fileno())  # what is not on disk yet cannot be given back
    said, went, same = json.loads(subprocess.check_output([sys.executable, "-c", OWNER, str(big)], timeout=60))

    assert said[0] == {"settled": 0}, "it is not the child of that process"
    assert said[1]["settled"] >= 3 << 20
    assert went >= (3 << 20) // os.sysconf("SC_PAGE_SIZE")
    assert same
