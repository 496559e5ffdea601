"""An enrolment token as one line of text: `rs1.` and base64url of compact JSON (docs/wire.md).

It names the server and pins what the device must find there: the CA, and the first root of release trust. The
operator's own command puts the pins in, because a server could only name its own.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from fleet_protocol.wire import strict_json
from fleet_protocol.wire.bounds import SHA256_PATTERN, matches
from fleet_protocol.wire.errors import DocumentInvalidError, Exit
from provisioning.proof import secret_bytes

PREFIX = "rs1."
MAX_CHARACTERS = 2048
MAX_URL = 300
TOKEN_ID_PATTERN = r"[a-z0-9]{8,40}"  # noqa: S105 - a pattern
COPY_IT_WHOLE = "copy the whole line that `fleet enroll token` printed"
FIELDS = {"u": "server address", "c": "CA pin", "r": "root pin", "t": "token id", "s": "secret"}


class TokenInvalidError(DocumentInvalidError):
    """What was given is not an enrolment token."""

    phase = "reading the enrolment token"
    component = "enrolment"
    code = "E0601"
    exit_status = Exit.USAGE


@dataclass(frozen=True, slots=True)
class Token:
    """The parts of a token."""

    url: str
    ca_sha256: str  # of the CA certificate, DER
    root_sha256: str  # of root.json, version 1
    token_id: str
    secret: str

    def __repr__(self) -> str:
        """Without the secret: tokens end up in logs."""
        return f"Token(url={self.url!r}, token_id={self.token_id!r})"


def encode(token: Token) -> str:
    """The token's text. Raises TokenInvalidError for parts that `parse` would not accept."""
    value = {"u": token.url, "c": token.ca_sha256, "r": token.root_sha256, "t": token.token_id, "s": token.secret}
    text = PREFIX + base64.urlsafe_b64encode(strict_json.dumps(value)).rstrip(b"=").decode()
    parse(text)
    return text


def parse(text: str) -> Token:
    """The parts of a token's text. Raises TokenInvalidError, which says what is wrong, never what the secret is."""
    text = text.strip()
    if not text.startswith(PREFIX):
        raise TokenInvalidError(f"it does not start with {PREFIX}", hint=COPY_IT_WHOLE)
    if len(text) > MAX_CHARACTERS:
        raise TokenInvalidError(f"it has {len(text)} characters, at most {MAX_CHARACTERS} are allowed")
    fields = _fields(text[len(PREFIX) :])
    missing = [words for key, words in FIELDS.items() if key not in fields]
    if missing or len(fields) != len(FIELDS):
        raise TokenInvalidError(
            f"it lacks {', '.join(missing)}" if missing else "it has parts that do not belong there"
        )
    for key, words in FIELDS.items():
        if not isinstance(fields[key], str):
            raise TokenInvalidError(f"its {words} is not text")
    for key in ("c", "r"):
        if not matches(SHA256_PATTERN, fields[key]):
            raise TokenInvalidError(f"its {FIELDS[key]} is not a SHA-256 in hex")
    if not matches(TOKEN_ID_PATTERN, fields["t"]):
        raise TokenInvalidError("its token id is not one")
    if not fields["u"].startswith("https://") or len(fields["u"]) > MAX_URL or not fields["u"].isprintable():
        raise TokenInvalidError("its server address is not an https address")
    try:
        secret_bytes(fields["s"])
    except DocumentInvalidError as error:
        raise TokenInvalidError(error.reason) from error
    return Token(fields["u"], fields["c"], fields["r"], fields["t"], fields["s"])


def _fields(body: str) -> dict[str, str]:
    """The decoded JSON object; its values are checked by the caller."""
    try:
        data = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        value = strict_json.loads(data, max_bytes=MAX_CHARACTERS, what="enrolment token")
    except (binascii.Error, ValueError, DocumentInvalidError) as error:
        raise TokenInvalidError("it is damaged or was not copied as a whole", hint=COPY_IT_WHOLE) from error
    if not isinstance(value, dict):
        raise TokenInvalidError("it holds something else than a token")
    return value
