"""The one verifier: it judges whether a desired state may ever run on this host.

The order of what prepare does, and what each step leaves behind:

1. `verify(envelope)` judges the document, every release in it and every configuration value. It records only what can
   never be wrong to know: verified metadata, each app's `min_counter`, the time. Nothing is accepted by it.
2. Prepare fetches, unpacks and writes revisions. A crash here is followed by the same `verify` again.
3. `accept(accepted)`, when everything is ready to be sealed: one durable transaction makes this generation the floor.
   From here on nothing older is taken, and nothing else of the same generation.
4. Prepare writes `generations/<n>/index.json`, durably.
5. `sealed(accepted)`. A crash between 3 and 5 makes `verify` answer `Accepted` (not `Current`) for the same document,
   so that steps 2 to 5 are simply done again; each of them may be repeated.

So an index never exists for a generation that the floor does not know, and the floor never names a generation that the
same document would not finish. `Current` means: accepted and sealed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fleet_protocol.documents.desired import DESIRED_TYPE, DesiredApp, DesiredState
from fleet_protocol.documents.release import Release
from fleet_protocol.trust import dsse
from fleet_protocol.trust.clock import TrustedClock
from fleet_protocol.trust.configuration import resolve_values
from fleet_protocol.trust.errors import (
    AlarmError,
    CounterError,
    ExpiredError,
    NotThereError,
    OlderGenerationError,
    OtherDeviceError,
    UnsignedReleaseError,
    WithdrawnError,
)
from fleet_protocol.trust.policy import LocalPolicy, check_policy
from fleet_protocol.trust.store import AcceptedState, TrustStore
from fleet_protocol.trust.tuf_client import AppRole, TufClient
from fleet_protocol.wire.bounds import MAX_DESIRED_BYTES
from fleet_protocol.wire.errors import TrustError

ELEMENT = "desired state"


@dataclass(frozen=True)
class AcceptedApp:
    """One app that may run: its verified release, and its configuration with defaults filled in."""

    app: str
    release: Release
    sha256: str  # of the signed target
    values: Mapping[str, bytes]


@dataclass(frozen=True)
class Accepted:
    """A desired state that may be prepared."""

    desired: DesiredState
    sha256: str  # of the payload
    apps: tuple[AcceptedApp, ...]

    @property
    def generation(self) -> int:
        """Its number."""
        return self.desired.generation


@dataclass(frozen=True)
class Current:
    """The desired state that was accepted and sealed already: nothing to do."""

    generation: int
    sha256: str


@dataclass(frozen=True)
class Stop:
    """A release that was withdrawn with `effect: stop`: it must not run, whether it is desired or not."""

    app: str
    release: str
    reason: str


@dataclass(frozen=True)
class Stops:
    """What a look for withdrawals found."""

    releases: tuple[Stop, ...] = ()
    unread: tuple[str, ...] = ()  # apps whose role could not be read: what was known of them before still holds


class Verifier:
    """Judges documents for one device."""

    def __init__(
        self, store: TrustStore, client: TufClient, clock: TrustedClock, device_id: str, policy: LocalPolicy
    ) -> None:
        self._store = store
        self._client = client
        self._clock = clock
        self._device_id = device_id
        self._policy = policy

    def update_time(self, ask: Callable[[str], bytes]) -> None:
        """Get the signed time: `ask(nonce)` answers with the envelope of `POST /v1/time`.

        Without time keys yet (the first contact) metadata is refreshed first, and again under the signed time.
        """
        if not self._client.authority_keys("time"):
            self._client.refresh()
        keys = self._client.authority_keys("time")
        if not keys:
            return
        nonce = self._clock.new_nonce()
        self._clock.accept(ask(nonce), nonce, keys)
        self._client.refresh()

    def verify(self, envelope: bytes) -> Accepted | Current:
        """Refreshes metadata if that was not done. Raises TrustError (or a subclass) with the one reason against it."""
        if not self._client.fresh:
            self._client.refresh()
        payload = dsse.verify(
            envelope, DESIRED_TYPE, self._client.authority_keys("director"), max_bytes=MAX_DESIRED_BYTES
        )
        desired = DesiredState.parse(payload)
        sha256 = hashlib.sha256(payload).hexdigest()
        if current := self._compare(desired, sha256, self._store.accepted()):
            return current
        now = self._clock.now()
        if desired.expires <= now.timestamp():
            raise ExpiredError(
                f"expired at second {desired.expires}, the time is taken to be {int(now.timestamp())}", element=ELEMENT
            )
        return Accepted(desired, sha256, tuple(self._judge(app) for app in desired.apps))

    def accept(self, accepted: Accepted) -> None:
        """Step 3. Durable when it returns; may be repeated."""
        apps = {a.app: (a.release.version, a.sha256) for a in accepted.apps}
        self._store.accept(accepted.generation, accepted.sha256, apps)
        self._clock.save()

    def sealed(self, accepted: Accepted) -> None:
        """Step 5. Durable when it returns; may be repeated."""
        self._store.sealed(accepted.generation, accepted.sha256, {a.sha256 for a in accepted.apps})

    def stops(self) -> Stops:
        """Every release of the accepted apps that their own signers withdrew with `effect: stop`.

        Not only the accepted ones: a host may run another, its last good or one that is held there. A withdrawal holds
        also when the role that carries it has expired since. An app whose role cannot be read is named as such: expiry
        and errors neither stop what runs nor start what was stopped.
        """
        if not self._client.fresh:
            self._client.refresh()
        out: list[Stop] = []
        unread: list[str] = []
        for app in self._store.accepted_apps():
            try:
                role = self._client.app_role_of_any_age(app)
            except (TrustError, NotThereError):
                role = None
            if role is None:
                unread.append(app)
            else:
                out += [Stop(app, w.version, w.reason) for w in role.extra.withdrawals if w.effect == "stop"]
        return Stops(tuple(out), tuple(unread))

    def _compare(self, desired: DesiredState, sha256: str, floor: AcceptedState | None) -> Current | None:
        if desired.device_id != self._device_id:
            raise OtherDeviceError(
                f"it is for device {desired.device_id}, and this is {self._device_id}", element=ELEMENT
            )
        if floor is None or desired.generation > floor.generation:
            return None
        if desired.generation < floor.generation:
            raise OlderGenerationError(
                f"generation {desired.generation} is older than the accepted generation {floor.generation}",
                element=ELEMENT,
            )
        if sha256 != floor.sha256:
            raise AlarmError(
                f"ALARM: generation {desired.generation} was accepted before with other content", element=ELEMENT
            )
        return Current(floor.generation, floor.sha256) if floor.sealed else None

    def _judge(self, wanted: DesiredApp) -> AcceptedApp:
        role = self._client.app_role(wanted.app)
        self._store.raise_floor(wanted.app, role.epoch, role.extra.min_counter)
        release = self._signed_release(wanted, role)
        check_policy(release, self._policy)
        values = resolve_values(release, wanted.config, self._client.value)
        return AcceptedApp(wanted.app, release, wanted.sha256, values)

    def _signed_release(self, wanted: DesiredApp, role: AppRole) -> Release:
        element = f"{wanted.app} {wanted.release}"
        for withdrawal in role.extra.withdrawals:
            if withdrawal.version == wanted.release:
                why = f": {withdrawal.reason}" if withdrawal.reason else ""
                raise WithdrawnError(f"{element} was withdrawn{why}", element=element)
        line = role.releases.get(wanted.release)
        if line is None:
            raise UnsignedReleaseError(f"the role release/{wanted.app} does not sign {wanted.release}", element=element)
        if line.sha256 != wanted.sha256:
            raise UnsignedReleaseError(
                f"the desired state names content {wanted.sha256[:12]}, release/{wanted.app} signs {line.sha256[:12]}",
                element=element,
            )
        floor = self._store.floor(wanted.app, role.epoch)
        if line.counter < floor:
            raise CounterError(f"release_counter {line.counter} is below min_counter {floor}", element=element)
        release = Release.parse(self._client.release(line, wanted.app))
        if (release.app, release.version, release.release_counter) != (wanted.app, wanted.release, line.counter):
            raise UnsignedReleaseError(
                f"the document says {release.app} {release.version} with counter {release.release_counter}, "
                f"its role says counter {line.counter}",
                element=element,
            )
        return release
