"""`fleet enroll`: tokens and the approval queue."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

import click

from fleet_cli.output import Column, age, output_option, show, talk
from fleet_cli.params import DEVICE, LABEL, DurationType, seconds
from fleet_cli.session import client, confirm, must_ask
from fleet_client.api import FleetClient
from fleet_protocol.wire.errors import Exit, RoadsteadError, TrustError


class EnrolError(RoadsteadError):
    """A token or an approval could not be made."""

    phase = "enrolling"
    component = "fleet"
    code = "E0520"


@click.group()
def enroll() -> None:
    """Tokens and the approval queue."""


@enroll.command()
@click.option("--label", "labels", multiple=True, type=LABEL, help="Given to every device that uses it.")
@click.option(
    "--uses", type=click.IntRange(1, 100_000), default=1, show_default=True, help="How many devices may use it."
)
@click.option(
    "--ttl", type=DurationType("1m", "30d"), default="24h", show_default=True, help="How long it is good: 30m, 24h, 7d."
)
@click.option("--name", "device_id", type=DEVICE, help="The device's name; only with one use.")
@click.option("--auto-approve", is_flag=True, help="Do not wait for a person to compare fingerprints.")
@click.pass_context
def token(
    ctx: click.Context,
    labels: tuple[tuple[str, str], ...],
    uses: int,
    ttl: str,
    device_id: str | None,
    auto_approve: bool,
) -> None:
    """Print a one-line token for `edge-daemon enroll`."""
    if device_id is not None and uses != 1:
        raise click.UsageError("--name names one device: leave --uses at 1")
    request: dict[str, Any] = {
        "labels": dict(labels),
        "uses": uses,
        "ttl_s": seconds(ttl),
        "auto_approve": auto_approve,
        **({"device_id": device_id} if device_id else {}),
    }
    with client(ctx) as server:
        # Both pins are ours, not the server's word: the CA by which we reached it, and the trust root as we know it.
        root = _trust_root(server)
        issued = server.issue_token(request)
        fields = {
            "u": issued["url"],
            "c": _ca_sha256(server),
            "r": hashlib.sha256(root).hexdigest(),
            "t": issued["token_id"],
            "s": issued["secret"],
        }
    text = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    click.echo("rs1." + base64.urlsafe_b64encode(text).rstrip(b"=").decode())
    talk(f"Good for {uses} device(s), {ttl}. On the host, as root:  edge-daemon enroll TOKEN")


@enroll.command("list")
@output_option
@click.option("--all", "everything", is_flag=True, help="Also those that were decided.")
@click.pass_context
def list_(ctx: click.Context, form: str, everything: bool) -> None:
    """Requests that wait for approval, with the words that the host shows too."""
    with client(ctx) as server:
        rows = [r for r in server.enrolments() if everything or r["status"] == "pending"]
    columns = [
        Column("REQUEST", lambda r: r["request_id"]),
        Column("NAME", lambda r: r.get("device_id") or r["requested_name"]),
        Column("STATUS", lambda r: r["status"]),
        Column("ASKED", lambda r: age(r["asked_at"])),
        Column("FINGERPRINT", lambda r: r["words"]),
        Column("LABELS", lambda r: ",".join(f"{k}={v}" for k, v in r["labels"].items()), wide=True),
    ]
    show("Enrolment", rows, columns, form, key="request_id", empty="Nobody waits for approval.")


@enroll.command()
@click.argument("request_id")
@click.option("-y", "--yes", is_flag=True, help="Do not ask whether the words are the same.")
@click.pass_context
def approve(ctx: click.Context, request_id: str, yes: bool) -> None:
    """Let a host in, after comparing the words that it shows."""
    ask = must_ask(yes=yes)
    with client(ctx) as server:
        row = _find(server, request_id)
        name = row.get("device_id") or row["requested_name"]
        if ask:
            talk(f"{name} shows these words?\n\n  {row['words']}\n")
            confirm(server, "They are the same on the host")
        server.decide_enrolment(row["request_id"], approve=True)
    talk(f"Approved {name}.")


@enroll.command()
@click.argument("request_id")
@click.pass_context
def reject(ctx: click.Context, request_id: str) -> None:
    """Turn a host away."""
    with client(ctx) as server:
        server.decide_enrolment(_find(server, request_id)["request_id"], approve=False)
    talk("Rejected.")


def _find(server: FleetClient, wanted: str) -> dict[str, Any]:
    """By request, or by device name when only one waits under it."""
    rows = server.enrolments()
    found = [r for r in rows if r["request_id"] == wanted]
    waiting = [r for r in rows if r["status"] == "pending"]
    found = found or [r for r in waiting if wanted in (r.get("device_id"), r["requested_name"])]
    if len(found) != 1:
        said = "nobody asks under that name" if not found else f"{len(found)} hosts ask under that name"
        error = EnrolError(said, element=wanted, hint="fleet enroll list")
        error.exit_status = Exit.NOT_FOUND
        raise error
    return found[0]


def _trust_root(server: FleetClient) -> bytes:
    from fleet_cli.trust_files import known_root

    known = known_root()
    served = server.get_metadata("1.root")
    if known is None:
        error = EnrolError(
            "this machine knows no trust root, so it cannot pin one for the host",
            element="trust root",
            hint="fleet trust init, or fleet trust join ROOT.json with the file from a colleague",
        )
        error.exit_status = Exit.TRUST
        raise error
    if served is None:
        raise TrustError("the server has no trust root yet", element="trust root", hint="fleet trust init")
    if served != known:
        raise TrustError(
            "the server serves another trust root than the one known here",
            element="trust root",
            hint="is this the context that was meant? fleet ctx list",
        )
    return known


def _ca_sha256(server: FleetClient) -> str:
    """Of the one certificate in the context's CA file."""
    import ssl

    path = server.context.ca_file
    found = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", path.read_text("latin-1"), re.DOTALL)
    if len(found) != 1:
        raise EnrolError(f"holds {len(found)} certificates, wants the server's CA alone", element=str(path))
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(found[0])).hexdigest()
