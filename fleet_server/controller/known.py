"""What is known of a device, and what a rollout makes of it: rows of the store in, facts of the engine out. Pure.

Reports were parsed and bounded when they came in, so they are read here as plain JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fleet_protocol.documents.fleet import FleetSpec
from fleet_server.controller import verdicts
from fleet_server.controller.change import mark_of
from fleet_server.rollout.facts import NOTHING_RUNS, DeviceFacts, Opinion, Refused, Verdict, Veto
from fleet_server.rollout.state import Phase
from fleet_server.selection import Contact, contact_of, selects
from fleet_server.store.rollout_records import WatchedRow

VETO_WORDS = re.compile(r'app veto: "(.*)", since ')

Json = Mapping[str, Any]
NEVER = 0
RAN_IT = frozenset({Phase.PROVING, Phase.HEALTHY, Phase.UNJUDGED})
USUAL = Contact()


class Known(NamedTuple):
    """One device. `apps`: as it was last told to run them."""

    device_id: str
    labels: Mapping[str, str]
    last_seen: int
    online: bool
    online_since: int
    claims: int  # the generation that it says it has accepted
    generation: int
    in_step: bool  # it has accepted the newest document
    apps: Mapping[str, Json]
    says: Mapping[str, Json] | None  # its reported apps; None: it has never reported
    refusal: Json | None
    host: Json
    heard_at: int
    contact: Contact = USUAL


class Asked(NamedTuple):
    """What a rollout needs to know beside the device itself. `wanted`: mark of what it wants there; `before`: of what
    the device was told before it was given that (None: it was not given anything)."""

    app: str
    target: str
    wanted: str
    before: Json | None = None
    phase: Phase = Phase.QUEUED
    given_at: int = 0
    owner: str = ""
    superseded_by: str = ""


def read(row: WatchedRow, fleets: Iterable[FleetSpec]) -> Known:
    """One row."""
    labels: dict[str, str] = json.loads(row.labels)
    reported: Json = json.loads(row.document) if row.document else {}
    told: Json = json.loads(row.payload) if row.payload else {}
    generation = row.generation or 0
    mine = [fleet for fleet in fleets if fleet.contact and selects(fleet, labels)]
    return Known(
        row.device_id,
        labels,
        row.last_seen or NEVER,
        bool(row.online),
        row.online_since or row.last_seen or NEVER,
        row.said_generation or 0,
        generation,
        (reported.get("generation", 0), reported.get("sha256")) == (generation, row.sha256),
        {app["app"]: app for app in told.get("apps", ())},
        {app["app"]: app for app in reported.get("apps", ())} if reported else None,
        reported.get("refusal"),
        reported.get("host") or {},
        row.heard_at or NEVER,
        contact_of(mine, labels) if mine else USUAL,
    )


def facts(known: Known, asked: Asked) -> DeviceFacts:
    """What the engine looks at."""
    running = runs(known, asked)
    said = (known.says or {}).get(asked.app)
    return DeviceFacts(
        known.device_id,
        labels=known.labels,
        zone=zone(known),
        online=known.online,
        online_since=known.online_since,
        last_seen=known.last_seen,
        contact_s=known.contact.every_s,
        overdue_s=int(known.contact.every_s * known.contact.overdue),
        runs=running,
        verdict=_verdict(known, asked, said, running) if said is not None else None,
        refused=_refused(known, asked),
        veto=_veto(said, known, asked) if said is not None else None,
        preconditions=preconditions(known),
        owner=asked.owner,
        superseded_by=asked.superseded_by,
    )


def runs(known: Known, asked: Asked) -> str | None:
    """What runs there: the rollout's target, another mark, or nothing; None: not known.

    A report names releases, not configurations. So beside a report about the newest document, what runs is what was
    told, and otherwise what had been told before it, as far as the release fits.
    """
    if known.says is None:
        return NOTHING_RUNS if known.generation == known.claims == 0 else None
    said = known.says.get(asked.app)
    release = said.get("release") if said is not None else None
    if said is None or release is None:
        return NOTHING_RUNS
    told, before = known.apps.get(asked.app), asked.before
    new = told is not None and told["release"] == release
    old = before is not None and before["release"] == release
    if new and old:  # the configuration alone is new
        new = not verdicts.went_back(said) if known.in_step else asked.phase in RAN_IT
    if new and told is not None:
        return _named(mark_of(told), asked)
    return mark_of(before) if old and before is not None else str(release)


def _verdict(known: Known, asked: Asked, said: Json, running: str | None) -> Verdict | None:
    """A host judges what its newest document wants. Beside an older one only good news is of any use: it is about what
    still runs, while bad news is about what was wanted then."""
    told = known.apps.get(asked.app)
    if known.in_step:
        return verdicts.verdict(said, _named(mark_of(told), asked), known.heard_at) if told else None
    if not running or verdicts.went_back(said):
        return None
    found = verdicts.verdict(said, running, known.heard_at)
    return found if found is not None and found.opinion is Opinion.HEALTHY else None


def zone(known: Known) -> str | None:
    """Its time zone: the label `timezone`, else what the host says."""
    said = known.labels.get("timezone") or known.host.get("timezone")
    return said if isinstance(said, str) else None


def preconditions(known: Known) -> Mapping[str, bool]:
    """What the host says that it meets; a label with the precondition's name and the value yes or no goes before."""
    said = known.host.get("preconditions")
    out = {str(k): v is True for k, v in said.items()} if isinstance(said, dict) else {}
    return out | {k: v == "yes" for k, v in known.labels.items() if v in ("yes", "no")}


def _named(found: str, asked: Asked) -> str:
    return asked.target if found == asked.wanted else found


def _refused(known: Known, asked: Asked) -> Refused | None:
    refusal = known.refusal
    if refusal is None or refusal.get("retry") or asked.app not in known.apps:
        return None
    if (refusal.get("generation") or known.generation) < known.generation:
        return None  # of an older document
    about = _named(mark_of(known.apps[asked.app]), asked)
    said = refusal.get("reason") or str(refusal.get("sentence", "")).partition(": ")[2] or refusal.get("sentence", "")
    return Refused(about, str(said), known.heard_at)


def _veto(said: Json, known: Known, asked: Asked) -> Veto | None:
    """An app says "not now" to what it was told; so since it was told."""
    if said.get("state") != "held":
        return None
    told = str(said.get("why", ""))
    words = VETO_WORDS.match(told)
    return Veto(words[1] if words else told, asked.given_at or known.heard_at, told)
