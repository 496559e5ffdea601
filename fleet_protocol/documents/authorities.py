"""`roadstead/authorities.json`: the on-line and recovery keys, a TUF target signed by the off-line `targets` role."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from fleet_protocol.documents.base import Document

AUTHORITIES_PATH = "roadstead/authorities.json"


class AuthorityKey(Document):
    """A public key as PEM (SubjectPublicKeyInfo): Ed25519 or P-256. Its id is the SHA-256 of the DER form, in hex."""

    public_pem: Annotated[str, StringConstraints(max_length=1024)]


Keys = Annotated[tuple[AuthorityKey, ...], Field(max_length=8)]


class Authorities(Document):
    """Who may sign what. Any one listed key of a kind is enough (rotation overlaps)."""

    schema_: Literal["roadstead/authorities/v1"] = Field("roadstead/authorities/v1", alias="schema")
    director: Annotated[Keys, Field(min_length=1)]
    time: Keys = ()
    recovery: Keys = ()
    operator_issuer: Keys = ()
