"""The SQLite schema, as migrations of sqlite-utils. A released migration is never edited; the next one follows it."""

from __future__ import annotations

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

migrations = Migrations("fleet-server")


@migrations(name="0001 identity")
def _identity(db: Database) -> None:
    db.create_table(
        "tokens",
        {
            "token_id": str, "secret": str, "labels": str, "uses": int, "uses_left": int, "issued_at": int,
            "expires": int, "auto_approve": int, "device_id": str, "issued_by": str,
        },
        pk="token_id",
        not_null={"secret", "labels", "uses", "uses_left", "issued_at", "expires", "auto_approve", "issued_by"},
    )  # fmt: skip
    db.create_table(
        "enrolments",
        {
            "request_id": str, "token_id": str, "status": str, "requested_name": str, "fingerprint": str,
            "public_pem": str, "labels": str, "asked_at": int, "host": str, "device_id": str, "decided_at": int,
            "decided_by": str,
        },
        pk="request_id",
        not_null={"token_id", "status", "requested_name", "fingerprint", "public_pem", "labels", "asked_at", "host"},
    )  # fmt: skip
    db.table("enrolments").create_index(["token_id", "fingerprint"], unique=True)
    # A certificate's serial has up to 159 bits; SQLite's integers have 64.
    db.create_table(
        "devices",
        {
            "device_id": str, "labels": str, "fingerprint": str, "public_pem": str, "certificate_pem": str,
            "certificate_serial": str, "certificate_expires": int, "enrolled_at": int, "revoked_at": int,
        },
        pk="device_id",
        not_null={"labels", "fingerprint", "public_pem", "certificate_pem", "certificate_serial", "enrolled_at"},
    )  # fmt: skip
    db.create_table(
        "former_certificates", {"device_id": str, "serial": str, "replaced_at": int}, pk=("device_id", "serial")
    )
    db.create_table(
        "operators",
        {"name": str, "role": str, "token_sha256": str, "created_at": int, "revoked_at": int},
        pk="name",
        not_null={"role", "token_sha256", "created_at"},
    )
    db.table("operators").create_index(["token_sha256"], unique=True)


@migrations(name="0002 intentions")
def _intentions(db: Database) -> None:
    db.create_table("fleets", {"name": str, "document": bytes}, pk="name", not_null={"document"})
    db.create_table(
        "desired",
        {
            "device_id": str, "generation": int, "sha256": str, "payload": bytes, "envelope": bytes, "issued_at": int,
            "expires": int,
        },
        pk="device_id",
        not_null={"generation", "sha256", "payload", "envelope", "issued_at", "expires"},
    )  # fmt: skip
    db.create_table("config_values", {"sha256": str, "data": bytes}, pk="sha256", not_null={"data"})


@migrations(name="0003 what devices say")
def _said(db: Database) -> None:
    db.create_table(
        "contacts",
        {"device_id": str, "last_seen": int, "online": int, "generation": int, "sha256": str},
        pk="device_id",
        not_null={"online"},
    )
    db.create_table(
        "reported",
        {"device_id": str, "received_at": int, "document": bytes},
        pk="device_id",
        not_null={"received_at", "document"},
    )
    db.create_table(
        "events",
        {"id": int, "device_id": str, "spool": str, "seq": int, "received_at": int, "document": bytes},
        pk="id",
        not_null={"device_id", "spool", "seq", "received_at", "document"},
    )
    db.table("events").create_index(["device_id", "spool", "seq"], unique=True)
    db.table("events").create_index(["device_id", "id"])
    db.table("events").create_index(["received_at"])
    db.create_table(
        "spools", {"device_id": str, "spool": str, "through": int}, pk=("device_id", "spool"), not_null={"through"}
    )


@migrations(name="0004 audit")
def _audit(db: Database) -> None:
    db.create_table(
        "audit",
        {
            "seq": int, "at": int, "who": str, "action": str, "element": str, "detail": str, "previous": str,
            "hash": str,
        },
        pk="seq",
        not_null={"at", "who", "action", "element", "detail", "previous", "hash"},
    )  # fmt: skip


@migrations(name="0005 images")
def _images(db: Database) -> None:
    db.create_table(
        "manifests",
        {"app": str, "digest": str, "media_type": str, "size": int},
        pk=("app", "digest"),
        not_null={"media_type", "size"},
    )
    db.create_table("tags", {"app": str, "tag": str, "digest": str}, pk=("app", "tag"), not_null={"digest"})


@migrations(name="0006 scopes of tokens")
def _scopes(db: Database) -> None:
    table = db.table("operators")
    table.add_column("scope", str, not_null_default="{}")
    table.add_column("expires", int)
    table.add_column("created_by", str, not_null_default="")


@migrations(name="0007 rollouts")
def _rollouts(db: Database) -> None:
    db.create_table(
        "rollouts",
        {
            "seq": int, "rollout_id": str, "fleet": str, "app": str, "created_at": int, "change": bytes,
            "record": bytes, "state": str, "closed": int,
        },
        pk="seq",
        not_null={"rollout_id", "fleet", "app", "created_at", "change", "record", "state", "closed"},
    )  # fmt: skip
    db.table("rollouts").create_index(["rollout_id"], unique=True)
    db.table("rollouts").create_index(["fleet", "app", "seq"])
    db.create_table(
        "rollout_devices",
        {"rollout_id": str, "device_id": str, "phase": str, "record": bytes, "before": str},
        pk=("rollout_id", "device_id"),
        not_null={"phase"},
    )
    db.create_table(
        "rollout_verbs",
        {
            "rollout_id": str, "seq": int, "at": int, "act": str, "by": str, "device_id": str, "wave": str,
            "reason": str, "refused": str,
        },
        pk=("rollout_id", "seq"),
        not_null={"at", "act", "by", "device_id", "wave", "reason", "refused"},
    )  # fmt: skip
    db.create_table(
        "rollout_decisions",
        {"id": int, "rollout_id": str, "at": int, "kind": str, "element": str, "text": str},
        pk="id",
        not_null={"rollout_id", "at", "kind", "element", "text"},
    )
    db.table("rollout_decisions").create_index(["rollout_id", "id"])
    db.create_table(
        "quarantines",
        {"app": str, "release": str, "since": int, "rollout_id": str, "reason": str},
        pk=("app", "release"),
        not_null={"since", "rollout_id", "reason"},
    )
    db.create_table(
        "pins",
        {"device_id": str, "app": str, "release": str, "by": str, "since": int, "until": int, "reason": str},
        pk=("device_id", "app"),
        not_null={"release", "by", "since", "until", "reason"},
    )
    # Since when a device is connected without a break: how long it has had to do what it was told.
    db.table("contacts").add_column("online_since", int)
    db.execute("UPDATE contacts SET online_since = last_seen WHERE online = 1")


@migrations(name="0008 where and why of the audit log")
def _where_and_why(db: Database) -> None:
    table = db.table("audit")
    table.add_column("origin", str, not_null_default="")
    table.add_column("why", str, not_null_default="")
