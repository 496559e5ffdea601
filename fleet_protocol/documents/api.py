"""What operators' tools read and write besides fleets and plans: errors, tokens, pages."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from fleet_protocol.documents.base import Document, Labels, OpenDocument, Text, UnixTime

Role = Literal["viewer", "installer", "operator", "releaser", "approver", "admin"]
WhoName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9@._-]{0,62}[a-z0-9])?$")]


class Problem(OpenDocument):
    """Every error (RFC 9457, `application/problem+json`): one sentence, a stable code, its cause, what to do next."""

    type: Text  # urn:roadstead:error:<code>
    title: Text
    status: Annotated[int, Field(ge=400, le=599)]
    detail: Annotated[str, Field(max_length=600)]
    instance: Annotated[str, Field(max_length=600)] = ""  # the path that was asked for
    code: Text  # `fleet explain CODE`
    phase: Text
    component: Text
    element: Text = ""
    cause: Text
    next: Text = ""  # a command, or a hint
    retry: bool = False  # whether trying the same again can help


class WhoAmI(OpenDocument):
    """GET /v1/whoami."""

    name: Text
    role: Role
    scope: Labels = {}
    api_version: Literal["roadstead/v1"] = Field("roadstead/v1", alias="apiVersion")
    server_version: Text = ""


class NewApiToken(Document):
    """POST /v1/api-tokens. The token may do what its role allows, to devices that have all labels of `scope`."""

    name: WhoName
    role: Role = "viewer"
    scope: Labels = {}
    ttl_s: Annotated[int, Field(ge=60, le=5 * 366 * 86400)] | None = None  # None: until it is revoked


class IssuedApiToken(OpenDocument):
    """Its answer: the token itself is here and nowhere else; the server keeps its hash."""

    name: Text
    token: Annotated[str, StringConstraints(max_length=128)]
    expires: UnixTime | None = None


class ApiTokenRow(OpenDocument):
    """GET /v1/api-tokens."""

    name: Text
    role: Role
    scope: Labels = {}
    created_at: UnixTime
    created_by: Text = ""
    expires: UnixTime | None = None
    revoked_at: UnixTime | None = None


class ApiTokenRevoked(OpenDocument):
    """POST /v1/api-tokens/{name}/revoke."""

    name: Text
    revoked_at: UnixTime


class DeviceRevoked(OpenDocument):
    """POST /v1/devices/{device_id}/revoke."""

    device_id: Text
    revoked: bool


class Health(OpenDocument):
    """GET /healthz."""

    status: Literal["ok"] = "ok"
    version: Text
