"""CVE-2019-5736: a container that runs its own runtime again, and writes over it while it runs."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from runtime_support import World, shift

from edge_daemon.keeper.runtime.errors import RuntimeFailedError

ATTACK = """
for round in 1 2 3 4 5; do
  for exe in /proc/[0-9]*/exe /proc/self/exe; do
    (echo evil > $exe) 2>/dev/null && echo "wrote $exe"
  done
  for fd in /proc/[0-9]*/fd/*; do
    case $(ls -l $fd 2>/dev/null) in *runc*|*crun*|*conmon*) (echo evil > $fd) 2>/dev/null && echo "wrote $fd";; esac
  done
done
echo done
"""


def test_threat_46_a_container_cannot_write_over_the_runtime(host: World) -> None:
    binaries = [Path(host.runtime.chosen.path), Path("/usr/bin/conmon")]
    before = [hashlib.sha256(b.read_bytes()).hexdigest() for b in binaries]
    layer = host.layout.layers / "evil"
    layer.mkdir()
    (layer / "again").write_text("#!/proc/self/exe init\n")
    (layer / "again").chmod(0o755)
    (layer / "link").symlink_to("/proc/self/exe")
    shift(layer)
    writer = host.service("shop", "writer", ["/bin/sh", "-c", ATTACK], layers=["base", "evil"], read_only=False)
    host.runtime.start(host.app("shop", writer)["writer"])
    for entry in ("/again", "/link"):
        name = entry[1:]
        pair = host.service("blog", name, [entry], layers=["base", "evil"], address="10.88.4.2")
        spec = host.app("blog", pair, subnet="10.88.4.0/24")[name]
        with suppress(RuntimeFailedError):  # refused or not: it must not write
            host.runtime.start(spec)
        host.runtime.remove("blog", name)
    assert "wrote" not in host.says("shop", "writer", "done")
    assert [hashlib.sha256(b.read_bytes()).hexdigest() for b in binaries] == before
