"""Two small images made of the machine's own static busybox: no registry, no internet."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

PLATFORM = {"x86_64": "linux/amd64", "aarch64": "linux/arm64", "armv7l": "linux/arm/v7"}[platform.machine()]

WEB = """#!/bin/sh
busybox mkdir -p /tmp/www
echo "${GREETING:-hello} from ${SITE:-nowhere}" > /tmp/www/index.html
exec busybox httpd -f -p 8080 -h /tmp/www
"""
VISITOR = """#!/bin/sh
while :; do
    busybox timeout 3 busybox wget -q -O /dev/null "$TARGET" && said=well || said=away
    echo "$(busybox date -u +%T) $TARGET is $said"
    busybox sleep 10
done
"""


def build_images(folder: Path, *, motto: str = "") -> None:
    """OCI layouts in `folder`/images/{web,visitor}; another motto makes other layers."""
    from fleet_release.images.build import build_layout

    busybox = Path("/bin/busybox")
    tools = [(f"/bin/{name}", busybox, 0o755) for name in ("busybox",)]
    for name, script in (("web", WEB), ("visitor", VISITOR)):
        files: list[tuple[str, bytes | Path, int]] = [*tools, ("/entry.sh", script.encode(), 0o755)]
        if motto:
            files.append(("/motto", motto.encode(), 0o644))
        config = {
            "Entrypoint": ["/bin/busybox", "sh", "/entry.sh"],
            "Env": ["PATH=/bin"],
            "User": "1000:1000",
            "WorkingDir": "/",
        }
        build_layout(folder / "images" / name, {PLATFORM: files}, config)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m demo.images FOLDER   makes FOLDER/images/web and FOLDER/images/visitor")
    build_images(Path(sys.argv[1]))
