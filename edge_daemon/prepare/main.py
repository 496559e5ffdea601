"""`python -m edge_daemon.prepare`: one document in, one sealed generation out. It never starts or stops a container.

This process is the privileged half, and small: it holds the lock, answers for the device's key, writes what outside
bytes have been judged to allow, and ends. Everything that talks and parses is in the worker and the unpacker.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import hashlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from edge_daemon.layout import Layout
from edge_daemon.prepare import addresses, garbage, seal
from edge_daemon.prepare.admission import admit
from edge_daemon.prepare.capacity import read_capacity, volume_bytes
from edge_daemon.prepare.channel import unpacked
from edge_daemon.prepare.errors import PlanError, PrepareError
from edge_daemon.prepare.helper import Helper
from edge_daemon.prepare.host import Host, read_host
from edge_daemon.prepare.manifest import layers_of, read_config, read_manifest
from edge_daemon.prepare.placing import Built, place
from edge_daemon.prepare.plan import Plan, PlannedImage, check_room, megabytes, plan
from edge_daemon.prepare.policy import Policy, check_release, read_policy
from edge_daemon.prepare.report import Report
from edge_daemon.prepare.revision import ReadyApp, ReadyImage, Site, build
from edge_daemon.prepare.steps import carry_out
from edge_daemon.prepare.store import ImageStore, searchable_by_others
from edge_daemon.prepare.worker import Duty
from edge_daemon.sealed import Identity, IndexedApp
from fleet_protocol.documents.desired import DesiredState
from fleet_protocol.documents.release import Release, Service
from fleet_protocol.trust.keys import FileSigner
from fleet_protocol.wire import bounds, strict_json
from fleet_protocol.wire.errors import Exit, RoadsteadError

MAX_BLOB_BYTES = 1 << 40


def main(argv: list[str] | None = None) -> int:
    """The outcome is the last line on standard output; the status is the error's own, 0 when sealed or current."""
    args = _arguments(argv)
    report = Report(sys.stdout)
    try:
        signal.signal(signal.SIGTERM, _ended)
        keep, running = garbage.parse_keep(args.keep), garbage.parse_keep(args.running)
        layout = Layout(args.state_dir.absolute(), args.run_dir.absolute())
        with _locked(layout, wait=args.check):
            _join(args.cgroup)
            preparation = Preparation(layout, report, keep, dict(running), args.cgroup_parent)
            preparation.check() if args.check else preparation.run(_document(args.document))
    except BrokenPipeError:
        return _unheard()
    except RoadsteadError as error:
        return _refuse(report, error)
    except ValueError as error:
        traceback.print_exc()
        return _refuse(report, PrepareError(f"{error}"))
    except OSError as error:
        traceback.print_exc()
        return _refuse(
            report, PrepareError(error.strerror or str(error), element=str(error.filename or ""), retry=True)
        )
    return Exit.OK


class Preparation:
    """One run. Methods are in the order in which `run` calls them."""

    def __init__(
        self,
        layout: Layout,
        report: Report,
        keep: frozenset[tuple[str, str]],
        running: dict[str, str],
        cgroup_parent: str,
    ) -> None:
        self._layout = layout
        self._report = report
        self._keep = keep
        self._running = running
        self._cgroup_parent = cgroup_parent
        self._policy: Policy = read_policy(layout.policy)
        self._host: Host = read_host(layout.state)
        self._store = ImageStore(layout, self._policy.prepare_uid)

    def run(self, document: bytes) -> None:
        """verify, admit, read images, plan, fetch and unpack, build, seal, collect."""
        self._open()
        with self._helper(document) as helper:
            self._report.progress("verifying")
            judged = helper.call("verify")
            if "current" in judged:
                self._confirm(judged["current"])
                return
            desired, sha256 = _payload(document, judged["accepted"]["sha256"])
            apps = self._check(desired, judged["accepted"]["apps"])
            admit(
                (release for release, _, _ in apps),
                read_capacity(self._cgroup_parent, self._policy.reserve_memory_bytes),
            )
            self._report.progress("planning")
            images = {release.app: self._images(helper, release) for release, _, _ in apps}
            planned = self._plan(desired, images, [release for release, _, _ in apps])
            carry_out(planned, helper, self._store, self._report, self._policy.uid_base)
            self._report.progress("sealing")
            indexed = self._seal_revisions(apps, images)
            helper.call("accept")
            seal.seal_generation(self._layout, desired, sha256, indexed)
            helper.call("sealed")
        garbage.collect(self._layout, self._store, garbage.needed(self._layout, self._keep), frozenset())
        self._report.outcome("sealed", desired.generation, sha256)

    def check(self) -> None:
        """Fetch what is newest, and say which releases on this host their own signers withdrew with `effect: stop`."""
        self._open()
        here = garbage.releases(self._layout)
        with self._helper(b"") as helper:
            told = helper.call("stops")
        stops = [stop for stop in told["stops"] if (stop["app"], stop["release"]) in here]
        self._report.checked(stops, [str(app) for app in told["unread"]])

    def _open(self) -> None:
        """Directories, with the permissions that the split of powers stands on."""
        layout, uid = self._layout, self._policy.prepare_uid
        for folder in (layout.state, layout.volumes):
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            folder.chmod(0o711)
        if closed := searchable_by_others(layout.state):
            raise PrepareError(
                "containers and the worker have other ids than root and cannot pass through it",
                element=str(closed),
                hint=f"chmod o+x {closed}, or choose another state directory",
            )
        self._store.open()
        seal.open_folders(layout)
        trust = layout.trust_db.parent
        trust.mkdir(mode=0o700, exist_ok=True)
        os.chown(trust, uid, uid)
        for file in trust.iterdir():
            os.chown(file, uid, uid, follow_symlinks=False)  # prepare_uid may have been changed

    def _helper(self, document: bytes) -> Helper:
        layout = self._layout
        try:
            identity: Identity = json.loads(layout.identity_json.read_bytes())
        except FileNotFoundError as error:
            raise PrepareError("this host is not enrolled", hint="edge-daemon enroll TOKEN") from error
        duty = Duty(
            identity=identity,
            ca_pem=layout.ca.read_text(),
            root=layout.tuf_root.read_bytes(),
            policy=self._policy,
            document=document,
            trust_db=layout.trust_db,
            blobs=layout.blobs,
            partial=self._store.partial,
            expect_trust=bool(garbage.generations(layout) or garbage.known_apps(layout)),
            most_bytes=MAX_BLOB_BYTES,
        )
        return Helper(duty, FileSigner(layout.device_key).sign)

    def _confirm(self, current: dict[str, Any]) -> None:
        generation, sha256 = int(current["generation"]), str(current["sha256"])
        if not seal.is_whole(self._layout, generation, sha256):
            raise PrepareError(
                f"generation {generation} was sealed, and parts of it are missing from this host",
                element="the state directory",
                hint="apply any change: the next generation is prepared from the beginning",
            )
        self._report.outcome("current", generation, sha256)

    def _check(self, desired: DesiredState, told: list[dict[str, Any]]) -> list[tuple[Release, str, dict[str, bytes]]]:
        """What the worker hands over, against the signed document's own hashes and this host's policy."""
        if [a["app"] for a in told] != [a.app for a in desired.apps]:
            raise PrepareError("the worker hands over other apps than the document names")
        out = []
        for wanted, given in zip(desired.apps, told, strict=True):
            data = unpacked(given["release"])
            if hashlib.sha256(data).hexdigest() != wanted.sha256:
                raise PrepareError("the worker hands over another release than the document names", element=wanted.app)
            release = Release.parse(data)
            check_release(release, self._policy)
            values = {str(key): unpacked(value) for key, value in given["values"].items() if key in release.config}
            out.append((release, wanted.sha256, values))
        return out

    def _images(self, helper: Helper, release: Release) -> dict[str, ReadyImage]:
        """Manifests and configurations, by service."""
        return {service.name: self._image(helper, release, service) for service in release.services}

    def _image(self, helper: Helper, release: Release, service: Service) -> ReadyImage:
        platform = next((p for p in self._host.platforms if p in service.images), None)
        if platform is None:
            raise PlanError(
                f"has no image for {' or '.join(self._host.platforms)}, only for {', '.join(sorted(service.images))}",
                element=f"{release.app}.{service.name}",
            )
        image = service.images[platform]
        try:
            data = self._small(helper, release.app, "manifest", image.manifest, image.manifest_size)
            manifest = read_manifest(data, image)
            data = self._small(helper, release.app, "config", manifest.config.digest, manifest.config.size)
            config = read_config(data, manifest, platform)
        except RoadsteadError as error:
            error.element = f"{release.app}.{service.name}"
            raise
        return ReadyImage(platform, image, config, layers_of(manifest, config))

    def _small(self, helper: Helper, app: str, kind: str, digest: str, size: int) -> bytes:
        data = unpacked(helper.call("small", app=app, kind=kind, digest=digest, size=size)["data"])
        self._store.put_blob(digest, data)
        return data

    def _plan(self, desired: DesiredState, images: dict[str, dict[str, ReadyImage]], releases: list[Release]) -> Plan:
        volumes = volume_bytes(self._layout, releases)
        ready = [(app, image) for app, by_service in images.items() for image in by_service.values()]
        wanted = tuple(
            PlannedImage(app, i.image.manifest, i.layers, i.image.unpacked_bytes)
            for app, i in {(app, i.image.manifest): (app, i) for app, i in ready}.values()
        )
        layers = frozenset(layer.diff_id for image in wanted for layer in image.layers)
        partials = frozenset(layer.blob.hex for image in wanted for layer in image.layers)
        unpacked_layers = self._store.unpacked()
        planned = plan(wanted, unpacked_layers, self._store.partials())
        quota = desired.settings.images_quota_bytes
        twice = ", ".join(release.app for release in releases if release.strategy == "start-first")
        side_by_side = f"; room for two revisions at once of {twice}" if twice else ""
        self._report.progress(
            "planning",
            f"{megabytes(planned.fetch_bytes)} MB to fetch, at most {megabytes(planned.disk_bytes)} MB of disk"
            + side_by_side,
        )
        blobs = frozenset(_blob_names(ready, self._layout))
        stay = garbage.needed(self._layout, self._keep, layers, blobs)
        try:
            pinned = sum(unpacked_layers.values())
            check_room(planned.disk_bytes, self._store.free_bytes(), volumes=volumes, quota=quota, pinned=pinned)
        except PlanError:
            self._report.progress("cleaning up")
            garbage.collect(self._layout, self._store, stay, partials)
            pinned = sum(self._store.unpacked().values())
            check_room(planned.disk_bytes, self._store.free_bytes(), volumes=volumes, quota=quota, pinned=pinned)
        return planned

    def _seal_revisions(
        self, apps: list[tuple[Release, str, dict[str, bytes]]], images: dict[str, dict[str, ReadyImage]]
    ) -> dict[str, IndexedApp]:
        layout = self._layout
        file = layout.state / "networks.json"
        names = {release.app for release, _, _ in apps}
        known = {a: n for a, n in addresses.read_numbers(file).items() if a in names | garbage.known_apps(layout)}
        numbers = addresses.assign(known, sorted(names))
        addresses.write_numbers(file, numbers)
        site = Site(layout, self._host, self._policy.uid_base, self._cgroup_parent)
        out: dict[str, IndexedApp] = {}
        for release, sha256, values in apps:
            app = ReadyApp(release, sha256, values, images[release.app], numbers[release.app])
            name, files = place(partial(_built, app, site), release, layout, self._running)
            sealed = seal.seal_revision(layout, release.app, name, files)
            out[release.app] = {"revision": name, "seal": sealed, "release": release.version}
        return out


def _built(app: ReadyApp, site: Site, slot: str) -> Built:
    return build(replace(app, slot=slot), site)


def _blob_names(ready: list[tuple[str, ReadyImage]], layout: Layout) -> set[str]:
    manifests = {image.image.manifest.removeprefix("sha256:") for _, image in ready}
    return manifests | {name for m in manifests for name in garbage.config_of(layout.blobs / m)}


def _payload(document: bytes, sha256: str) -> tuple[DesiredState, str]:
    """The payload whose hash the worker verified; nothing else of the envelope is used."""
    fields = strict_json.loads(document, max_bytes=4 * bounds.MAX_DESIRED_BYTES, what="signed envelope")
    payload = base64.b64decode(fields["payload"], validate=True)
    if hashlib.sha256(payload).hexdigest() != sha256:
        raise PrepareError("the worker verified another document", element="desired state")
    return DesiredState.parse(payload), sha256


def _document(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(
            bounds.MAX_DESIRED_BYTES + 1
        )  # one more than allowed: the verifier then refuses it by its size


def _join(cgroups: list[Path]) -> None:
    """Enter the groups first, so that nothing of what follows is outside of their limits."""
    for path in cgroups:
        try:
            (path / "cgroup.procs").write_text(str(os.getpid()))
        except OSError as error:
            raise PrepareError(f"cannot be entered: {error.strerror}", element=str(path), retry=True) from error


@contextmanager
def _locked(layout: Layout, *, wait: bool) -> Iterator[None]:
    """One at a time. A look for withdrawals waits, and is ended by whoever started it; a document comes later."""
    layout.state.mkdir(mode=0o711, parents=True, exist_ok=True)
    handle = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise PrepareError("another prepare is at work on this state directory", retry=True) from error
        yield
    finally:
        os.close(handle)


def _refuse(report: Report, error: RoadsteadError) -> int:
    print(error.sentence(), file=sys.stderr)
    try:
        report.refused(error)
    except BrokenPipeError:
        _unheard()
    return int(error.exit_status)


def _unheard() -> int:
    """Whoever started this process is gone; who comes after starts another. Python shall not complain at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Exit.OTHER


def _ended(_number: int, _frame: FrameType | None) -> None:
    raise PrepareError("was asked to end", retry=True)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m edge_daemon.prepare", description="Make one desired state ready to run."
    )
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--document", type=Path, help="the signed envelope as it came")
    what.add_argument("--check", action="store_true", help="only look for withdrawals")
    parser.add_argument(
        "--cgroup", type=Path, action="append", default=[], help="a cgroup directory to enter; may be repeated"
    )
    parser.add_argument(
        "--keep", nargs="*", action="extend", default=[], metavar="APP/REVISION", help="never collected"
    )
    parser.add_argument(
        "--running", nargs="*", action="extend", default=[], metavar="APP/REVISION", help="what runs of each app now"
    )
    parser.add_argument("--cgroup-parent", default="/roadstead", help="parent of the containers' groups")
    return parser.parse_args(argv)
