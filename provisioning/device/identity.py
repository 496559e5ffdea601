"""A device's identity as files: made in a folder of their own, complete, and then put in place by one rename.

The names are those of `edge_daemon.layout.Layout`. The last file written is identity.json; whoever finds it finds
all.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fleet_protocol.trust.keys import FileSigner
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.durable import rename_durably, replace_durably, sync_directory

AT_FDCWD = -100
RENAME_EXCHANGE = 2
KEY, CERTIFICATE, CA, ROOT, IDENTITY = "device.key", "device.pem", "ca.pem", "root.json", "identity.json"
MARK = ".not-yet-in-place"


class IdentityValues(NamedTuple):
    """What approval brought, checked."""

    device_id: str
    server_url: str
    broker_host: str
    broker_port: int
    certificate_pem: str
    ca_pem: str
    tuf_root: str


class IdentityFolder:
    """`identity/` below the state directory, and a draft beside it while enrolment or renewal is under way."""

    def __init__(self, state: Path, draft: str = "identity.next") -> None:
        self.state = state
        self.final = state / "identity"
        self.draft = state / draft
        self.former = state / "identity.former"

    def exists(self) -> bool:
        """Whether this host has an identity."""
        return (self.final / IDENTITY).exists()

    def key(self) -> FileSigner:
        """The key of the enrolment under way, made now if there is none. P-256, 0600, durable before it is used."""
        file = self.draft / KEY
        if not file.exists():
            self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.draft.mkdir(mode=0o700, exist_ok=True)
            sync_directory(self.state)
            replace_durably(file, new_key_pem(), 0o600)
        return FileSigner(file)

    def final_key(self) -> FileSigner:
        """The key of the identity in place."""
        return FileSigner(self.final / KEY)

    def start_over(self) -> None:
        """Throw away an enrolment under way, its key included."""
        shutil.rmtree(self.draft, ignore_errors=True)

    def commit(self, values: IdentityValues) -> None:
        """Write what approval brought, identity.json last, and put the folder in place of a former one."""
        replace_durably(self.draft / CERTIFICATE, values.certificate_pem.encode(), 0o600)
        replace_durably(self.draft / CA, values.ca_pem.encode(), 0o600)
        replace_durably(self.draft / ROOT, values.tuf_root.encode(), 0o600)
        identity = {
            "device_id": values.device_id,
            "server_url": values.server_url,
            "broker_host": values.broker_host,
            "broker_port": values.broker_port,
        }
        replace_durably(self.draft / MARK, b"", 0o600)
        replace_durably(self.draft / IDENTITY, strict_json.dumps(identity), 0o600)
        self.put_in_place()

    def put_in_place(self) -> bool:
        """Finish a commit that was cut short, and clean up after one; False if there was nothing to put in place.

        The mark tells a complete draft from a former identity that an exchange has left under the draft's name: it is
        taken off as soon as its folder is in place, so at any moment at most one of the two folders bears it.
        """
        complete = (self.draft / MARK).exists() and (self.draft / IDENTITY).exists()
        if complete and self.final.exists():
            exchange_durably(self.draft, self.final)
        elif complete:
            rename_durably(self.draft, self.final)
        if (self.draft / IDENTITY).exists() and not (self.draft / MARK).exists():
            # Set aside first, so that a half-deleted former identity is never taken for an enrolment under way.
            shutil.rmtree(self.former, ignore_errors=True)
            rename_durably(self.draft, self.former)
        shutil.rmtree(self.former, ignore_errors=True)
        if (self.final / MARK).exists():
            (self.final / MARK).unlink()
            sync_directory(self.final)
        return complete


def exchange_durably(one: Path, other: Path) -> None:
    """Let two folders beside each other change places in one step: at no moment is there none at either name.

    A host whose power fails in the middle must find an identity, the old one or the new. The os module does not have
    this call (renameat2(2), RENAME_EXCHANGE); the file systems that hosts boot from all do. Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(other))
    sync_directory(other.parent)


def new_key_pem() -> bytes:
    """A new P-256 private key, PKCS#8."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def request_for(key_file: Path, name: str) -> tuple[str, bytes]:
    """A certificate request (PEM, DER) for the key in `key_file`. The server takes nothing from it but the key."""
    key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64] or "device")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.PEM).decode(), csr.public_bytes(serialization.Encoding.DER)
