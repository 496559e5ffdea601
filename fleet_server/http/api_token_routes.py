"""API tokens: who may use the API, made and revoked over the API itself."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from fleet_protocol.documents.api import ApiTokenRevoked, ApiTokenRow, IssuedApiToken, NewApiToken
from fleet_server.errors import ConflictError, NotFoundError, StoreError
from fleet_server.http.answers import answer, document, full, in_thread, listed, services, takes
from fleet_server.http.gate import Asker, FleetRoute
from fleet_server.init import new_operator_token, operator
from fleet_server.services import Services

router = APIRouter(tags=["api tokens"], route_class=FleetRoute)


@router.get("/v1/api-tokens")
async def api_tokens(request: Request) -> Response:
    """All API tokens, revoked ones included, by name; without the tokens themselves."""
    found = await in_thread(services(request).store.operators)
    rows = [
        ApiTokenRow(
            name=o.name, role=o.role, scope=dict(o.scope), created_at=o.created_at, created_by=o.created_by,
            expires=o.expires, revoked_at=o.revoked_at,
        )
        for o in found
    ]  # fmt: skip
    return listed("ApiTokenList", [full(row) for row in rows])


@router.post("/v1/api-tokens", openapi_extra=takes(NewApiToken), responses={200: {"model": IssuedApiToken}})
async def new_api_token(request: Request, caller: Asker) -> Response:
    """A new token for a new name; the token is in this answer only."""
    wish = await document(request, NewApiToken)
    return answer(await in_thread(_new, services(request), wish, caller.name))


def _new(parts: Services, wish: NewApiToken, who: str) -> IssuedApiToken:
    now, token = parts.now(), new_operator_token()
    expires = None if wish.ttl_s is None else now + wish.ttl_s
    row = operator(wish.name, wish.role, token, now, scope=wish.scope, expires=expires, created_by=who)
    try:
        with parts.store.transaction():
            parts.store.add_operator(row)
            detail = {"role": wish.role, "scope": dict(wish.scope), "expires": expires}
            parts.record(who, "create api token", wish.name, **detail)
    except StoreError as error:
        raise ConflictError(error.reason, element=wish.name, hint="fleet token list") from error
    return IssuedApiToken(name=wish.name, token=token, expires=expires)


@router.post("/v1/api-tokens/{name}/revoke", responses={200: {"model": ApiTokenRevoked}})
async def revoke_api_token(request: Request, name: str, caller: Asker) -> Response:
    """End a token, at once and for good. One's own can be revoked as well."""
    return answer(await in_thread(_revoke, services(request), name, caller.name))


def _revoke(parts: Services, name: str, who: str) -> ApiTokenRevoked:
    now = parts.now()
    with parts.store.transaction():
        if not parts.store.revoke_operator(name, now):
            raise NotFoundError("there is no such active token", element=name[:64], hint="fleet token list")
        parts.record(who, "revoke api token", name)
    return ApiTokenRevoked(name=name, revoked_at=now)
