"""Signed heads of the audit log: one DSSE envelope a line, by the server's director key."""

from __future__ import annotations

from fleet_protocol.trust import dsse
from fleet_protocol.trust.keys import PublicKey, Signer
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.errors import RoadsteadError, TrustError

HEAD_TYPE = "application/vnd.roadstead.audit-head.v1+json"
MAX_LINE = 4096


def signed_head(seq: int, digest: str, at: int, signer: Signer) -> bytes:
    """One line, with its end."""
    return dsse.sign(strict_json.dumps({"seq": seq, "hash": digest, "at": at}), HEAD_TYPE, signer) + b"\n"


def heads_in(data: bytes, key: PublicKey) -> dict[int, str]:
    """Row number -> hash, of a file's content. A last line without its end is passed over: the power went while it was
    written. Raises TrustError for any other that is not signed by `key`."""
    out: dict[int, str] = {}
    lines = data.split(b"\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            payload = dsse.verify(line, HEAD_TYPE, (key,), max_bytes=MAX_LINE)
            value = strict_json.loads(payload, max_bytes=MAX_LINE, what="audit head")
            out[int(value["seq"])] = str(value["hash"])
        except (RoadsteadError, KeyError, TypeError, ValueError) as error:
            raise TrustError(f"line {number} is not a signed head: {error}", element="audit heads") from error
    return out
