"""Who gets a new certificate, and when. The caller has seen the session: `device_id` proved its present key.

Rules. A revoked device gets none. One that ended more than 180 days ago enrols again. Before two thirds of a
certificate's life there is none either, so that a device cannot make the revocation list grow. The same new key
again is a retry, and finds the certificate that was made for it.
"""

from __future__ import annotations

from dataclasses import replace

from fleet_protocol.wire.errors import Exit, RoadsteadError
from provisioning.authority import ca as certificates
from provisioning.authority.ca import DeviceCa
from provisioning.authority.records import EnrolmentStore
from provisioning.renewal import GRACE_S, RenewAnswer, RenewRequest


class RenewalRefusedError(RoadsteadError):
    """No new certificate for this device, or not now."""

    phase = "renewing a certificate"
    component = "authority"
    code = "E0607"
    exit_status = Exit.NOT_ALLOWED


def renew(store: EnrolmentStore, authority: DeviceCa, device_id: str, asked: RenewRequest, now: int) -> RenewAnswer:
    """A certificate for the device's next key. Raises RenewalRefusedError, CsrRefusedError."""
    device = store.device(device_id)
    if device is None or device.revoked_at is not None:
        raise RenewalRefusedError("the device is not known, or was revoked", element=device_id)
    if now >= device.certificate_expires + GRACE_S:
        hint = "enrol it again: fleet enroll token, then edge-daemon enroll --force"
        raise RenewalRefusedError("its certificate ended more than 180 days ago", element=device_id, hint=hint)
    key, _ = certificates.public_key_of_csr(asked.csr_pem)
    due = certificates.wants_replacement(device.certificate_pem, now)
    if certificates.fingerprint(key) == device.fingerprint:
        if due:
            raise RenewalRefusedError("it wants a new key for a new certificate", element=device_id)
        return RenewAnswer(device_id=device_id, certificate_pem=device.certificate_pem)
    if not due:
        raise RenewalRefusedError("two thirds of its certificate's life are not over", element=device_id)
    issued = authority.issue_device(device_id, key, now)
    renewed = replace(
        device,
        fingerprint=certificates.fingerprint(key),
        public_pem=certificates.public_pem(key),
        certificate_pem=issued.pem,
        certificate_serial=issued.serial,
        certificate_expires=issued.expires,
    )
    if not store.replace_certificate(device_id, device.certificate_serial, renewed, now):
        raise RenewalRefusedError("it was renewed or revoked at the same moment", element=device_id, retry=True)
    return RenewAnswer(device_id=device_id, certificate_pem=issued.pem)
