"""Where things lie on the host. One state directory that survives, one run directory that a reboot empties.

Only names; nothing is created here. Standard library only: the keeper imports it.
"""

from __future__ import annotations

from pathlib import Path


class Layout:
    """Paths below the state directory (default /var/lib/roadstead) and the run directory (default /run/roadstead)."""

    def __init__(self, state: Path, run: Path) -> None:
        self.state = state
        self.run = run
        # written by enrolment
        self.identity = state / "identity"  # 0700
        self.device_key = self.identity / "device.key"  # PKCS#8 PEM, P-256
        self.device_cert = self.identity / "device.pem"
        self.ca = self.identity / "ca.pem"
        self.tuf_root = self.identity / "root.json"
        self.identity_json = self.identity / "identity.json"  # see edge_daemon.sealed.Identity
        self.policy = state / "policy.json"  # the host owner's own policy, optional
        # written by the keeper
        self.keeper_db = state / "keeper.db"
        self.incoming = state / "incoming"  # <sequence>.dsse, bytes as they came
        self.volumes = state / "volumes"  # <app>/<name>
        self.logs = state / "logs"  # <app>/<service>/ctr.log
        # written by prepare
        self.trust_db = state / "trust" / "trust.db"
        self.blobs = state / "images" / "blobs" / "sha256"  # <hex>
        self.layers = state / "images" / "layers"  # <hex of the diff ID>/ : unpacked, shifted ownership
        self.revisions = state / "revisions"  # <app>/<revision>/
        self.generations = state / "generations"  # <generation>/index.json
        self.work = (
            state / "prepare"
        )  # scratch, emptied at each start of prepare; resumable downloads in prepare/partial
        self.lock = state / "prepare.lock"
        # of this boot
        self.socket = run / "edge-daemon.sock"
        self.containers = (
            run / "containers"
        )  # <app>.<service>/: bundle, rootfs (overlay), upper, work, sys, pidfile, exit/
        self.netns = run / "netns"  # <app>.<service>
        self.runtime_root = run / "runtime"

    def revision(self, app: str, revision: str) -> Path:
        """The sealed directory of one revision."""
        return self.revisions / app / revision

    def generation(self, number: int) -> Path:
        """The commit point of one generation."""
        return self.generations / str(number) / "index.json"

    def container(self, app: str, service: str) -> Path:
        """The run directory of one container."""
        return self.containers / f"{app}.{service}"
