"""What devices ask over HTTPS, before and after they have proven who they are."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from fastapi import APIRouter, Request, Response

from fleet_protocol.documents.enrolment import (
    TIME_TYPE,
    Challenge,
    EnrolAnswer,
    EnrolChallengeRequest,
    EnrolPoll,
    EnrolRequest,
    Session,
    SessionChallengeRequest,
    SessionRequest,
    TimeRequest,
    TimeStatement,
)
from fleet_protocol.trust import dsse
from fleet_protocol.trust.keys import PublicKey
from fleet_protocol.wire.bounds import SHA256_PATTERN, matches
from fleet_server.errors import NotFoundError, NotSignedInError
from fleet_server.http.answers import JSON, answer, document, in_thread, services, takes
from fleet_server.http.gate import Asker, Caller, FleetRoute
from fleet_server.services import Services
from fleet_server.sessions import LIFE_S
from provisioning import proof
from provisioning.authority.renewal import renew
from provisioning.renewal import RenewAnswer, RenewRequest

SESSION = "session"
PEM: dict[int | str, dict[str, Any]] = {200: {"content": {"application/x-pem-file": {"schema": {"type": "string"}}}}}
BYTES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string"}}}}
}
router = APIRouter(tags=["device"], route_class=FleetRoute)


@router.get("/v1/ca", responses=PEM, response_class=Response)
async def ca(request: Request) -> Response:
    """The CA's certificate; compare its SHA-256 with a pin before you trust it."""
    return Response(services(request).authority.pem, media_type="application/x-pem-file")


@router.post(
    "/v1/enrol/challenge",
    openapi_extra=takes(EnrolChallengeRequest),
    responses={200: {"model": Challenge}},
)
async def enrol_challenge(request: Request) -> Response:
    """A nonce, for known and unknown tokens alike."""
    asked = await document(request, EnrolChallengeRequest)
    parts = services(request)
    return answer(parts.desk.challenge(asked.token_id, parts.now()))


@router.post("/v1/enrol", openapi_extra=takes(EnrolRequest), responses={200: {"model": EnrolAnswer}})
async def enrol(request: Request) -> Response:
    """Ask for a certificate, with a proof of the token's secret."""
    asked = await document(request, EnrolRequest)
    return answer(await in_thread(_enrol, services(request), asked))


def _enrol(parts: Services, asked: EnrolRequest) -> EnrolAnswer:
    told = parts.desk.enrol(asked, parts.now())
    parts.board.touch([told.device_id or ""])
    parts.record(f"token {asked.token_id}", f"enrol {told.status}", told.device_id or told.request_id)
    return told


@router.post(
    "/v1/enrol/{request_id}/poll",
    openapi_extra=takes(EnrolPoll),
    responses={200: {"model": EnrolAnswer}},
)
async def poll(request: Request, request_id: str) -> Response:
    """What became of it."""
    asked = await document(request, EnrolPoll)
    parts = services(request)
    return answer(await in_thread(parts.desk.poll, request_id, asked, parts.now()))


@router.post(
    "/v1/device/challenge",
    openapi_extra=takes(SessionChallengeRequest),
    responses={200: {"model": Challenge}},
)
async def session_challenge(request: Request) -> Response:
    """A nonce to sign."""
    asked = await document(request, SessionChallengeRequest)
    parts = services(request)
    return answer(Challenge(nonce=parts.nonces.issue(SESSION, asked.device_id, parts.now())))


@router.post(
    "/v1/device/session",
    openapi_extra=takes(SessionRequest),
    responses={200: {"model": Session}},
)
async def session(request: Request) -> Response:
    """A session, for the signature of the device's key over the nonce."""
    asked = await document(request, SessionRequest)
    return answer(await in_thread(_session, services(request), asked))


def _session(parts: Services, asked: SessionRequest) -> Session:
    now = parts.now()
    device = parts.store.device(asked.device_id)
    holds = parts.nonces.holds(asked.nonce, SESSION, asked.device_id, now)
    if device is None or device.revoked_at is not None or not holds or not _signed(device.public_pem, asked):
        raise NotSignedInError("the device is not known, or this is not its signature", element=asked.device_id)
    if not parts.nonces.spend(asked.nonce, now):
        raise NotSignedInError("the nonce was used before", element=asked.device_id, retry=True)
    return Session(token=parts.sessions.open(device.device_id, now), expires_in_s=LIFE_S)


def _signed(public_pem: str, asked: SessionRequest) -> bool:
    try:
        signature = base64.b64decode(asked.signature, validate=True)
    except binascii.Error:
        return False
    return PublicKey(public_pem.encode()).verifies(signature, proof.session_message(asked.device_id, asked.nonce))


@router.post("/v1/time", openapi_extra=takes(TimeRequest))
async def tell_time(request: Request) -> Response:
    """The time, signed for the one who asked."""
    asked = await document(request, TimeRequest)
    parts = services(request)
    payload = TimeStatement(nonce=asked.nonce, time=parts.now()).to_bytes()
    return Response(await in_thread(dsse.sign, payload, TIME_TYPE, parts.keys.time), media_type=JSON)


@router.post("/v1/device/renew", openapi_extra=takes(RenewRequest), responses={200: {"model": RenewAnswer}})
async def renew_certificate(request: Request, caller: Asker) -> Response:
    """A certificate for the device's next key."""
    asked = await document(request, RenewRequest)
    return answer(await in_thread(_renew, services(request), caller, asked))


def _renew(parts: Services, caller: Caller, asked: RenewRequest) -> RenewAnswer:
    renewed = renew(parts.store, parts.authority, caller.device_id or "", asked, parts.now())
    parts.board.touch([renewed.device_id])
    parts.record(caller.name, "renew", renewed.device_id)
    return renewed


@router.get("/v1/values/{sha256}", responses=BYTES, response_class=Response)
async def value(request: Request, sha256: str) -> Response:
    """A configuration value above 1 KiB."""
    data = await in_thread(services(request).store.value, sha256) if matches(SHA256_PATTERN, sha256) else None
    if data is None:
        raise NotFoundError("there is no such value", element=sha256[:64])
    return Response(data, media_type="application/octet-stream")
