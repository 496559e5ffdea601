"""The broker's directory: the one interface between us and whatever mosquitto an owner runs.

A change is made in this order: generate, verify, replace durably, signal, then look with two canaries whether the
broker does what the files say. It fails closed: if the revoked canary gets in even after the files were written
once more, the broker is ended; started afresh it reads good files, or refuses to start with bad ones.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import threading
import time
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from cryptography import x509

from fleet_protocol.wire.durable import rename_durably, replace_durably
from fleet_protocol.wire.errors import RoadsteadError
from provisioning.authority import broker_text, ca
from provisioning.authority.broker_process import BrokerProcess
from provisioning.authority.broker_text import BrokerSettings
from provisioning.authority.ca import DeviceCa
from provisioning.authority.canary import Canary, Outcome
from provisioning.authority.crl import check_crl, make_crl
from provisioning.authority.records import RevokedCertificate

RELOAD_S = 5.0  # a reload takes milliseconds, and seconds on a small machine with many devices


class BrokerUnsafeError(RoadsteadError):
    """The broker admits a revoked certificate. It was ended."""

    phase = "checking the broker"
    component = "broker"
    code = "E0621"


class BrokerUnusableError(RoadsteadError):
    """The broker runs and turns away what it must admit, or does not answer."""

    phase = "checking the broker"
    component = "broker"
    code = "E0622"


class Applied(Enum):
    """What became of a change."""

    LIVE = "the broker does what the files say"
    WRITTEN = "the files are written; no broker runs here"


class BrokerDirectory:
    """Writes the files, and makes a running broker follow. One thread at a time; the rest wait."""

    def __init__(self, folder: Path, authority: DeviceCa, settings: BrokerSettings) -> None:
        self.folder = folder
        self._ca = authority
        self._settings = settings
        self._lock = threading.Lock()
        self.reload_s = RELOAD_S
        self._live: tuple[object, ...] | None = None  # what the broker was last seen to do
        self.process = BrokerProcess(folder / "mosquitto.pid")
        self.client = folder / "client"  # certificates of ours that speak to the broker; mosquitto does not read them
        self.server_certificate = self.client / "server.pem"
        self.server_key = self.client / "server.key"

    def prepare(self, now: int) -> None:
        """Make the directory, the configuration and the certificates, and replace certificates that grow old."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.folder / "data").mkdir(mode=0o700, exist_ok=True)
        self.client.mkdir(mode=0o700, exist_ok=True)
        owner = self._owner()
        if owner is not None:
            for directory in (self.folder, self.folder / "data"):
                os.chown(directory, *owner, follow_symlinks=False)
        self._write("mosquitto.conf", broker_text.configuration(self._settings, self.folder).encode())
        self._write("ca.pem", self._ca.pem.encode())
        self._prepare_server(now)
        self._prepare_client("server", broker_text.SERVER_NAME, now)
        self._prepare_client("canary", broker_text.CANARY_NAME, now)
        self._prepare_client("revoked", broker_text.REVOKED_CANARY_NAME, now)

    def apply(self, active: Iterable[str], revoked: Iterable[RevokedCertificate], now: int) -> Applied:
        """Let exactly `active` speak, and make the broker follow. Returns at once if that was seen to hold already.

        Raises CrlUnsafeError (nothing was replaced), BrokerUnsafeError (the broker was ended), BrokerUnusableError.
        """
        state = (tuple(sorted(active)), tuple(sorted(revoked, key=lambda r: r.serial)))
        with self._lock:
            if state == self._live and self.process.runs():
                return Applied.LIVE
            return self._enforce(state[0], state[1], now)

    def check(self, active: Iterable[str], revoked: Iterable[RevokedCertificate], now: int) -> Applied:
        """The same, whatever was seen before: files written anew, the broker signalled and looked at."""
        state = (tuple(sorted(active)), tuple(sorted(revoked, key=lambda r: r.serial)))
        with self._lock:
            return self._enforce(state[0], state[1], now)

    def look(self, mark: str) -> tuple[Outcome, Outcome]:
        """What the good and the revoked canary meet, the good one with patience: a reload takes a moment."""
        topic = broker_text.canary_topic(mark)
        good = self._canary("canary")
        deadline = time.monotonic() + self.reload_s
        met = good.attempt(topic)
        while met is not Outcome.ADMITTED and time.monotonic() < deadline:
            time.sleep(0.05)
            met = good.attempt(topic)
        return met, self._canary("revoked").attempt(topic)

    def mark(self) -> str:
        """The mark of the access list on disk; "" where there is none."""
        try:
            text = (self.folder / "acl").read_text(encoding="ascii")
        except OSError:
            return ""
        _, found, rest = text.partition(f" {broker_text.CANARY_TOPIC}/")
        return rest.split("\n", 1)[0] if found else ""

    def _enforce(self, active: tuple[str, ...], revoked: tuple[RevokedCertificate, ...], now: int) -> Applied:
        self._live = None
        for last_try in (False, True):
            mark = self._write_lists(active, revoked, now)
            if not self.process.reload():
                return Applied.WRITTEN
            good, bad = self.look(mark)
            if bad in (Outcome.ADMITTED, Outcome.DENIED):
                if last_try:
                    self.process.end()
                    raise BrokerUnsafeError(
                        "it let a revoked certificate in, so it was ended",
                        element=str(self.folder),
                        hint="start it again: it reads the files afresh",
                    )
                continue
            if good is Outcome.ADMITTED and bad is Outcome.REFUSED:
                self._live = (active, revoked)
                return Applied.LIVE
            if not self.process.runs():
                return Applied.WRITTEN
        raise BrokerUnusableError(
            f"of the good canary: {good.value}; of the revoked one: {bad.value}", element=str(self.folder), retry=True
        )

    def _write_lists(self, active: tuple[str, ...], revoked: tuple[RevokedCertificate, ...], now: int) -> str:
        entries = [*revoked, RevokedCertificate(self._serial("revoked"), now)]
        crl = make_crl(self._ca, entries, now)
        check_crl(crl, self._ca.certificate, {entry.serial for entry in entries}, now)
        self._write("crl.pem", crl)
        # A mark of its own each time: the canary sees this very write, or does not get through.
        mark = hashlib.sha256(crl + os.urandom(16)).hexdigest()[:32]
        self._write("acl", broker_text.access_list(active, mark).encode())
        return mark

    def _prepare_server(self, now: int) -> None:
        certificate = self.folder / "server.pem"
        if ca.pair_serves(certificate, self.folder / "server.key", now, self._settings.names):
            return
        key = ca.new_key()
        issued = self._ca.issue_server(list(self._settings.names), key.public_key(), now)
        self._write("server.key", ca.private_pem(key))
        self._write("server.pem", issued.pem.encode())

    def _prepare_client(self, file: str, name: str, now: int) -> None:
        certificate = self.client / f"{file}.pem"
        if ca.pair_serves(certificate, self.client / f"{file}.key", now):
            return
        key = ca.new_key()
        issued = self._ca.issue_device(name, key.public_key(), now, days=ca.SERVER_DAYS)
        replace_durably(self.client / f"{file}.key", ca.private_pem(key), 0o600)
        replace_durably(certificate, issued.pem.encode(), 0o600)

    def _serial(self, file: str) -> int:
        return x509.load_pem_x509_certificate((self.client / f"{file}.pem").read_bytes()).serial_number

    def _canary(self, file: str) -> Canary:
        host = self._settings.listen_address
        if host in ("0.0.0.0", "::", ""):  # noqa: S104 - not bound here; it says that the broker listens everywhere
            host = "127.0.0.1"
        certificate, key = self.client / f"{file}.pem", self.client / f"{file}.key"
        return Canary(host, self._settings.port, self.folder / "ca.pem", certificate, key)

    def _write(self, name: str, data: bytes) -> None:
        """Replace a file of the broker's durably, readable by the user that mosquitto becomes and by nobody else."""
        draft = self.folder / f".{name}.next"
        replace_durably(draft, data, 0o400)
        owner = self._owner()
        if owner is not None:
            os.chown(draft, *owner, follow_symlinks=False)
        rename_durably(draft, self.folder / name)

    def _owner(self) -> tuple[int, int] | None:
        if not self._settings.run_as or os.geteuid() != 0:
            return None
        try:
            user = pwd.getpwnam(self._settings.run_as)
        except KeyError as error:
            raise BrokerUnusableError(
                f"this machine has no user {self._settings.run_as}", element=str(self.folder), hint="install mosquitto"
            ) from error
        return user.pw_uid, user.pw_gid
