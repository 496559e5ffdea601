"""What a change of fleets does to every device. Pure: facts in, plan and intended states out.

Rules. A device runs the union of the apps of all fleets that select it. Fleets that are not named stay as they are, but
a device is always computed from all of them, so a change of labels that was never applied shows up here and is applied
with the next change. Where a device's document changes, everything in it is judged, because the device would refuse the
document as a whole; where it does not change, nothing is.

A new release or configuration of an app reaches its devices by a rollout, one for each app of a fleet. What a rollout
that began before has to do with a device is left to it, and a release in quarantine is brought to nobody. An app that
goes, and settings, are told at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fleet_protocol.documents.desired import DESIRED_TYPE, DesiredApp, DesiredState, Settings
from fleet_protocol.documents.device import Refusal
from fleet_protocol.documents.fleet import AppAt, AppChange, DevicePlan, FleetSpec, Plan, PlanRequest
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.bounds import MAX_APPS_PER_DEVICE, MAX_DESIRED_BYTES, MAX_INTEGER
from fleet_protocol.wire.errors import Exit, RoadsteadError
from fleet_server.configuration import Configured, UnfitValueError, configured, uses_labels
from fleet_server.controller.change import config_target
from fleet_server.plan_world import (
    Begun,
    Brings,
    Computed,
    DeviceFacts,
    Intended,
    ReleaseFacts,
    World,
    unusable,
    world_hash,
)
from fleet_server.selection import merged_settings, read_contact, selects

MAX_REFUSALS = 100
ENVELOPE_OVERHEAD = len(DESIRED_TYPE) + 64 + 96 + 128  # type, key id, longest signature in base64, field names


class PlanRefusedError(RoadsteadError):
    """A change that cannot be made."""

    phase = "planning"
    component = "plan"
    code = "E0930"
    exit_status = Exit.OTHER


def compute(world: World, request: PlanRequest) -> Computed:
    """The plan. With refusals in it, it cannot be applied."""
    return _Planner(world, request).run()


@dataclass
class _Planner:
    """One computation. Many devices share fleets and so results; what is equal is computed once."""

    world: World
    request: PlanRequest
    refusals: dict[str, Refusal] = field(default_factory=dict)
    values: dict[str, bytes] = field(default_factory=dict)
    shared: dict[tuple[str, str], DesiredApp] = field(default_factory=dict)
    merged: dict[tuple[str, ...], Settings] = field(default_factory=dict)
    sizes: dict[tuple[object, ...], int] = field(default_factory=dict)
    moves: dict[tuple[str, str], list[DeviceFacts]] = field(default_factory=dict)
    weights: dict[tuple[str, str, str | None], tuple[int, int]] = field(default_factory=dict)

    def run(self) -> Computed:
        fleets = self._fleets_after()
        intended: dict[str, Intended] = {}
        at_once: dict[str, Intended] = {}
        removed: dict[str, tuple[str, ...]] = {}
        plans: list[DevicePlan] = []
        for device in sorted(self.world.devices, key=lambda d: d.device_id):
            chosen = [fleet for fleet in fleets.values() if selects(fleet, device.labels)]
            state = self._intended(device, chosen)
            if state is None:
                continue
            if _same(device, state):
                continue
            self._judge(device, state)
            intended[device.device_id] = state
            goes = self._move(device, state, chosen)
            if goes:
                removed[device.device_id] = goes
            now = Intended(tuple(app for app in device.apps if app.app not in goes), state.settings)
            if device.generation and not _same(device, now):
                at_once[device.device_id] = now
            changes = tuple(self._changes(device, state))
            plans.append(DevicePlan(device_id=device.device_id, generation=device.generation, changes=changes))
        plan = Plan(
            request=self.request,
            world=world_hash(self.world, self.request),
            devices=tuple(plans),
            unchanged=len(self.world.devices) - len(plans),
            refusals=tuple(self.refusals.values())[:MAX_REFUSALS],
        )
        brings = () if plan.refusals else tuple(self._brings(fleets))
        return Computed(plan, fleets, intended, at_once, removed, brings, self.values)

    # --- rollouts

    def _move(self, device: DeviceFacts, state: Intended, chosen: list[FleetSpec]) -> tuple[str, ...]:
        """Note which rollouts the device belongs to; the apps that go."""
        before = {app.app: app for app in device.apps}
        for app in state.apps:
            if before.get(app.app) != app:
                fleet = next(f for f in chosen if any(at.app == app.app for at in f.run))
                self.moves.setdefault((fleet.name, app.app), []).append(device)
        return tuple(sorted(before.keys() - {app.app for app in state.apps}))

    def _brings(self, fleets: Mapping[str, FleetSpec]) -> Iterable[Brings]:
        for (name, app), devices in sorted(self.moves.items()):
            fleet = fleets[name]
            version = next(at.version for at in fleet.run if at.app == app)
            had = Counter(a.release for d in devices for a in d.apps if a.app == app)
            begun = self.world.begun.get((name, app))
            same = begun is not None and begun.open and _brings_same(begun, fleet, app, version)
            yield Brings(
                fleet,
                self.world.releases[app, version],
                tuple(d.device_id for d in devices),
                tuple(release for release, _ in had.most_common(3)),
                set(had) == {version} and had.total() == len(devices),
                begun.rollout_id if begun is not None and same else "",
            )

    def _stays(self, device: DeviceFacts, fleet: FleetSpec, at: AppAt) -> bool:
        """A rollout has this app of the device in hand, or may not bring it: what it has stays."""
        named = any(f.name == fleet.name for f in self.request.fleets)
        begun = self.world.begun.get((fleet.name, at.app))
        if begun is not None and device.device_id in begun.members and _brings_same(begun, fleet, at.app, at.version):
            return not named or (begun.live and device.device_id not in begun.left_out)
        return not named and bool(self._quarantine(fleet, at))

    def _quarantine(self, fleet: FleetSpec, at: AppAt) -> str:
        known = self.world.quarantined
        mark = config_target(at.version, fleet.config.get(at.app, {}))
        return known.get((at.app, at.version)) or known.get((at.app, mark), "")

    # --- fleets

    def _fleets_after(self) -> dict[str, FleetSpec]:
        fleets = dict(self.world.fleets)
        named: set[str] = set()
        for fleet in self.request.fleets:
            if fleet.name in named:
                self._refuse("the fleet is named twice in one change", f"fleet {fleet.name}")
            named.add(fleet.name)
            fleets[fleet.name] = fleet
            self._check_fleet(fleet)
        for name in self.request.remove:
            if name in named:
                self._refuse("the fleet is both changed and removed", f"fleet {name}")
            elif name not in self.world.fleets:
                self._refuse("there is no such fleet to remove", f"fleet {name}")
            fleets.pop(name, None)
        return dict(sorted(fleets.items()))

    def _check_fleet(self, fleet: FleetSpec) -> None:
        """What can be said of a fleet whichever devices it selects."""
        whom = f"fleet {fleet.name}"
        apps = [at.app for at in fleet.run]
        for app in sorted({a for a in apps if apps.count(a) > 1}):
            self._refuse(f"app {app} is listed twice", whom)
        for app in sorted(set(fleet.config) - set(apps)):
            self._refuse(f"it configures app {app}, which it does not run", whom)
        try:
            read_contact(fleet.contact, {})
        except ValueError as error:
            self._refuse(str(error), whom)
        for at in fleet.run:
            facts = self._release(at, whom)
            if why := self._quarantine(fleet, at):
                self._refuse(f"{at.app} {at.version} is in quarantine: {why}", whom)
            values = fleet.config.get(at.app, {})
            for key in sorted(set(values) - set(facts.release.config) if facts else ()):
                self._refuse(f"{key} is not declared by {at.app} {at.version}", whom)

    def _release(self, at: AppAt, whom: str) -> ReleaseFacts | None:
        facts = self.world.releases.get((at.app, at.version))
        if facts is None:
            self._refuse_unknown(at, whom)
            return None
        reason = unusable(facts)
        if reason:
            self._refuse(f"{at.app} {at.version} {reason}", whom)
        return facts

    # --- devices

    def _intended(self, device: DeviceFacts, chosen: list[FleetSpec]) -> Intended | None:
        """What the fleets make of the device; None where they contradict each other or cannot be fulfilled."""
        by_app: dict[str, FleetSpec] = {}
        apps: dict[str, DesiredApp] = {}
        for fleet in chosen:
            for at in fleet.run:
                other = by_app.setdefault(at.app, fleet)
                if other is not fleet:
                    self._refuse(
                        f"fleets {other.name} and {fleet.name} both run app {at.app} on it",
                        f"device {device.device_id}",
                    )
                    return None
                if self._stays(device, fleet, at):
                    apps |= {app.app: app for app in device.apps if app.app == at.app}
                    continue
                app = self._app(device, fleet, at)
                if app is None:
                    return None
                apps[at.app] = app
        if len(apps) > MAX_APPS_PER_DEVICE:
            self._refuse(f"{len(apps)} apps, at most {MAX_APPS_PER_DEVICE} fit", f"device {device.device_id}")
            return None
        names = tuple(fleet.name for fleet in chosen)
        if names not in self.merged:
            self.merged[names] = merged_settings(chosen)
        return Intended(tuple(apps[name] for name in sorted(apps)), self.merged[names])

    def _app(self, device: DeviceFacts, fleet: FleetSpec, at: AppAt) -> DesiredApp | None:
        facts = self.world.releases.get((at.app, at.version))
        if facts is None:
            # A fleet of old whose release its role no longer lists: what the device has of it stays as it is.
            kept = [app for app in device.apps if (app.app, app.release) == (at.app, at.version)]
            if kept:
                return kept[0]
            self._refuse_unknown(at, f"fleet {fleet.name}")
            return None
        values = fleet.config.get(at.app, {})
        if (fleet.name, at.app) in self.shared:
            return self.shared[fleet.name, at.app]
        labelled = uses_labels(values)
        try:
            made: Configured = configured(facts.release, values, device.labels)
        except UnfitValueError as error:
            where = f"device {device.device_id}" if labelled else f"fleet {fleet.name}"
            self._refuse(f"app {at.app}: {error}", where)
            return None
        self.values.update(made.large)
        app = DesiredApp(app=at.app, release=at.version, sha256=facts.sha256, config=dict(made.values))
        if not labelled:
            self.shared[fleet.name, at.app] = app
        return app

    def _judge(self, device: DeviceFacts, state: Intended) -> None:
        whom = f"device {device.device_id}"
        for app in state.apps:
            facts = self.world.releases.get((app.app, app.release))
            if facts is None or facts.sha256 != app.sha256:
                self._refuse(
                    f"app {app.app} {app.release} is no longer listed by its role, so the device would refuse it", whom
                )
                continue
            reason = unusable(facts)
            if reason:
                self._refuse(f"app {app.app} {app.release} {reason}", whom)
            missing = [s.name for s in facts.release.services if device.platform and device.platform not in s.images]
            if missing:
                self._refuse(f"app {app.app} {app.release}: {missing[0]} has no image for {device.platform}", whom)
        size = self._envelope_size(state)
        if size > MAX_DESIRED_BYTES:
            self._refuse(f"its desired state would have {size} bytes, at most {MAX_DESIRED_BYTES} are allowed", whom)

    def _envelope_size(self, state: Intended) -> int:
        """An upper bound: with the longest name and the largest numbers that there can be."""
        key = (tuple(id(app) for app in state.apps), id(state.settings))
        if key not in self.sizes:
            longest = DesiredState(
                device_id="x" * 48,
                generation=MAX_INTEGER,
                issued_at=MAX_INTEGER,
                expires=MAX_INTEGER,
                apps=state.apps,
                settings=state.settings,
            )
            payload = len(strict_json.dumps(longest.model_dump(mode="json", exclude_none=True, by_alias=True)))
            self.sizes[key] = (payload + 2) // 3 * 4 + ENVELOPE_OVERHEAD
        return self.sizes[key]

    def _changes(self, device: DeviceFacts, state: Intended) -> Iterable[AppChange]:
        before = {app.app: app for app in device.apps}
        after = {app.app: app for app in state.apps}
        for name in sorted(before.keys() | after.keys()):
            old, new = before.get(name), after.get(name)
            if old == new:
                continue
            yield AppChange(
                app=name,
                before=old.release if old else None,
                after=new.release if new else None,
                config_changed=old is not None and new is not None and old.config != new.config,
                download_bytes=self._weight(device, new)[0] if new and (old is None or old.sha256 != new.sha256) else 0,
                disk_bytes=self._weight(device, new)[1] if new and (old is None or old.sha256 != new.sha256) else 0,
            )

    def _weight(self, device: DeviceFacts, app: DesiredApp) -> tuple[int, int]:
        """What the images weigh, to fetch and unpacked, as if nothing were there yet; of the heaviest platform where it
        is not known."""
        key = (app.app, app.release, device.platform)
        if key not in self.weights:
            facts = self.world.releases.get((app.app, app.release))
            fetch = disk = 0
            for service in facts.release.services if facts else ():
                known = service.images.get(device.platform or "")
                images = [known] if known else list(service.images.values())
                fetch += max(i.download_bytes for i in images)
                disk += max(i.unpacked_bytes for i in images)
            self.weights[key] = min(fetch, MAX_INTEGER), min(disk, MAX_INTEGER)
        return self.weights[key]

    def _refuse_unknown(self, at: AppAt, whom: str) -> None:
        known = sorted(version for app, version in self.world.releases if app == at.app)
        told = f"; known are {', '.join(known[:8])}" if known else "; no release of this app is known"
        self._refuse(f"there is no release {at.version} of app {at.app}{told}", whom)

    def _refuse(self, reason: str, element: str) -> None:
        error = PlanRefusedError(reason, element=element)
        if len(self.refusals) < MAX_REFUSALS:
            self.refusals.setdefault(error.sentence(), Refusal.model_validate(error.as_dict()))


def _brings_same(begun: Begun, fleet: FleetSpec, app: str, version: str) -> bool:
    return begun.version == version and dict(begun.config) == fleet.config.get(app, {})


def _same(device: DeviceFacts, state: Intended) -> bool:
    if device.generation == 0:
        # A device that was never told anything and is in no fleet needs no document.
        return not state.apps
    return device.apps == state.apps and device.settings == state.settings
