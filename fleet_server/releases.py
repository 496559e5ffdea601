"""Which releases there are, as the TUF repository's current roles say."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from fleet_protocol.documents.release import Release, RoleExtra
from fleet_protocol.trust.metadata_rules import (
    RELEASE_PREFIX,
    app_of,
    as_targets,
    live_releases,
    parse_role,
    role_extra,
)
from fleet_protocol.trust.repository import Repository
from fleet_server.plan_world import AppId, ReleaseFacts


class Catalogue:
    """Releases with their floors and withdrawals; read again only when the snapshot's version has changed."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._lock = threading.Lock()
        self._read_at = -1
        self._facts: Mapping[AppId, ReleaseFacts] = {}
        self._documents: dict[str, Release] = {}

    def facts(self) -> Mapping[AppId, ReleaseFacts]:
        """(app, version) -> release, of everything that can be named in a fleet."""
        with self._lock:
            version = self._repository.version("snapshot")
            if version != self._read_at:
                self._facts, self._read_at = self._read(), version
            return self._facts

    def _read(self) -> dict[AppId, ReleaseFacts]:
        out: dict[AppId, ReleaseFacts] = {}
        snapshot = self._repository.current("snapshot")
        names = parse_role("snapshot", snapshot).signed.meta if snapshot else {}
        for role in sorted(name.removesuffix(".json") for name in names):
            data = self._repository.current(role) if role.startswith(RELEASE_PREFIX) else None
            if data is None:
                continue
            signed = as_targets(parse_role(role, data))
            extra = role_extra(role, signed)
            for version, line in live_releases(role, signed).items():
                app = app_of(role)
                release = self._release(app, version, line.sha256)
                if release is not None:
                    out[app, version] = ReleaseFacts(
                        release, line.sha256, extra.min_counter, _withdrawn(extra, version)
                    )
        return out

    def _release(self, app: str, version: str, sha256: str) -> Release | None:
        if sha256 not in self._documents:
            data = self._repository.target(f"releases/{app}/{sha256}.{version}.json")
            if data is None:
                return None
            self._documents[sha256] = Release.parse(data)
        return self._documents[sha256]


def _withdrawn(extra: RoleExtra, version: str) -> str | None:
    for withdrawal in extra.withdrawals:
        if withdrawal.version == version:
            return withdrawal.reason
    return None
