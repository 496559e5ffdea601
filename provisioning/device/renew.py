"""Renewal from the host's side: a new key, its certificate, and both put in place of the old in one step.

Cut short anywhere, it is taken up again: the next key is kept until it is in place. If the server has already made the
certificate and the answer was lost, it knows the device by the next key only; so where the present key is refused, the
next one is tried.
"""

from __future__ import annotations

import json
from pathlib import Path

from cryptography import x509

from fleet_protocol.trust.keys import FileSigner
from provisioning.device.enrol import EnrolmentError, check_certificate
from provisioning.device.https import DEFAULT_PACE, Pace, ServerRefusedError
from provisioning.device.identity import (
    CA,
    CERTIFICATE,
    IDENTITY,
    KEY,
    ROOT,
    IdentityFolder,
    IdentityValues,
    request_for,
)
from provisioning.device.session import ServerClient
from provisioning.renewal import RenewAnswer, RenewRequest

MAX_ANSWER_BYTES = 32 * 1024
DRAFT = "identity.renewal"


def is_due(state: Path, now: int) -> bool:
    """Whether two thirds of the certificate's life are over by this clock, or a renewal is under way.

    One that only had to be put in place is finished here.
    """
    folder = IdentityFolder(state, DRAFT)
    folder.put_in_place()
    _check_enrolled(folder)
    if (folder.draft / KEY).exists():
        return True
    certificate = x509.load_pem_x509_certificate((folder.final / CERTIFICATE).read_bytes())
    begins, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    return now >= begins + (ends - begins) * 2 / 3


def renew(state: Path, *, pace: Pace = DEFAULT_PACE) -> str:
    """Renew now; the new certificate as PEM. Raises ServerRefusedError, ServerUnreachableError, EnrolmentTrustError."""
    folder = IdentityFolder(state, DRAFT)
    if folder.put_in_place():
        return (folder.final / CERTIFICATE).read_text(encoding="ascii")
    _check_enrolled(folder)
    identity = json.loads((folder.final / IDENTITY).read_bytes())
    device_id, ca_pem = identity["device_id"], (folder.final / CA).read_text(encoding="ascii")
    resumed = (folder.draft / KEY).exists()
    following = folder.key()
    csr_pem, _ = request_for(folder.draft / KEY, device_id)
    asked = RenewRequest(csr_pem=csr_pem)

    def ask(signer: FileSigner) -> RenewAnswer:
        with ServerClient(identity["server_url"], device_id, ca_pem, signer.sign, pace=pace) as client:
            return RenewAnswer.parse(client.post("/v1/device/renew", asked.model_dump(), MAX_ANSWER_BYTES))

    try:
        answer = ask(folder.final_key())
    except ServerRefusedError as error:
        if error.status != 401 or not resumed:
            raise
        answer = ask(following)
    check_certificate(answer.certificate_pem, ca_pem, device_id, following.public.key_id)
    folder.commit(
        IdentityValues(
            device_id,
            identity["server_url"],
            identity["broker_host"],
            identity["broker_port"],
            answer.certificate_pem,
            ca_pem,
            (folder.final / ROOT).read_text(encoding="utf-8"),
        )
    )
    return answer.certificate_pem


def _check_enrolled(folder: IdentityFolder) -> None:
    if not folder.exists():
        raise EnrolmentError("it has no identity yet", element=str(folder.final), hint="edge-daemon enroll TOKEN")
