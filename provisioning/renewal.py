"""Renewal on the wire: `POST /v1/device/renew`, within a device's session, `RenewRequest` -> `RenewAnswer`.

The session is the proof of the present key; the request is signed by the next one. A certificate that has ended can be
renewed for half a year, because a session asks for the key and not for the certificate.
"""

from __future__ import annotations

from fleet_protocol.documents.base import DeviceId, Document, OpenDocument
from fleet_protocol.documents.enrolment import Pem

GRACE_S = 180 * 86400


class RenewRequest(Document):
    """A request for a certificate of the device's next key."""

    csr_pem: Pem


class RenewAnswer(OpenDocument):
    """The certificate of the key that was asked for."""

    device_id: DeviceId
    certificate_pem: Pem
