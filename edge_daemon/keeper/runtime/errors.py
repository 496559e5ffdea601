"""The errors of this package: what the host would not do, in a sentence."""

from __future__ import annotations

from fleet_protocol.wire.errors import Exit, RoadsteadError


class RuntimeFailedError(RoadsteadError):
    """The host's runtime, network, mounts or cgroups did not do what was asked. `element` is `<app>/<service>`."""

    phase = "running containers"
    component = "runtime"
    code = "E0700"


class PostStartError(RuntimeFailedError):
    """The release's own postStart hook says that a container that was just started is of no use."""

    phase = "starting a container"
    component = "its postStart hook"
    code = "E0711"


class SealBrokenError(RuntimeFailedError):
    """A sealed revision is not what prepare sealed. Nothing of it is started, and trying again does not help."""

    phase = "checking the seal"
    code = "E0710"
    exit_status = Exit.TRUST
