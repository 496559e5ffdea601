"""The one error of this package: what the host would not do, in a sentence."""

from __future__ import annotations

from fleet_protocol.wire.errors import RoadsteadError


class RuntimeFailedError(RoadsteadError):
    """The host's runtime, network, mounts or cgroups did not do what was asked. `element` is `<app>/<service>`."""

    phase = "running containers"
    component = "runtime"
    code = "E0600"
