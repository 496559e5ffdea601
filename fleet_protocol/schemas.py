"""JSON Schemas of every document, as they stand in `docs/schemas/`: `python -m fleet_protocol.schemas docs/schemas`.

A test compares the committed files with fresh ones, so that no document changes by accident.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from pydantic.json_schema import GenerateJsonSchema

from fleet_protocol.documents import (
    api,
    authorities,
    desired,
    device,
    enrolment,
    fleet,
    operations,
    release,
    rollout,
    stream,
)
from fleet_protocol.documents.base import Document
from fleet_protocol.trust.policy import LocalPolicy

DOCUMENTS: tuple[type[Document], ...] = (
    # signed
    authorities.Authorities,
    desired.DesiredState,
    enrolment.TimeStatement,
    release.Release,
    release.RoleExtra,
    # of a host's owner
    LocalPolicy,
    # MQTT
    device.Ack,
    device.Events,
    device.Presence,
    device.Reported,
    # HTTP, host
    enrolment.Challenge,
    enrolment.EnrolAnswer,
    enrolment.EnrolChallengeRequest,
    enrolment.EnrolPoll,
    enrolment.EnrolRequest,
    enrolment.Session,
    enrolment.SessionChallengeRequest,
    enrolment.SessionRequest,
    enrolment.TimeRequest,
    # HTTP, operator
    enrolment.EnrolmentRow,
    enrolment.IssuedToken,
    enrolment.NewToken,
    api.ApiTokenRevoked,
    api.ApiTokenRow,
    api.DeviceRevoked,
    api.Health,
    api.IssuedApiToken,
    api.NewApiToken,
    api.Problem,
    api.WhoAmI,
    stream.Causes,
    stream.Counters,
    stream.Fleets,
    stream.Hello,
    stream.Page,
    stream.WindowRequest,
    stream.WindowRows,
    fleet.Applied,
    fleet.DeviceView,
    fleet.FleetSpec,
    fleet.OnlineKeys,
    fleet.Plan,
    fleet.PlanRequest,
    fleet.RoleVersion,
    operations.ApprovalRequest,
    operations.LiftRequest,
    operations.PinRequest,
    operations.PinView,
    operations.QuarantineView,
    operations.VerbRequest,
    rollout.RolloutSpec,
    rollout.RolloutView,
    rollout.WhyNot,
)


def file_name(document: type[Document]) -> str:
    """`DesiredState` -> `desired-state.json`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", document.__name__).lower() + ".json"


def generated() -> dict[str, str]:
    """File name -> content."""
    out: dict[str, str] = {}
    for document in DOCUMENTS:
        schema = {"$schema": GenerateJsonSchema.schema_dialect, **document.model_json_schema(by_alias=True)}
        out[file_name(document)] = json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return out


def write(folder: Path) -> None:
    """Write the generated files into `folder`; others there are left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in generated().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
