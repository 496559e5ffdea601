"""The keeper's own errors."""

from __future__ import annotations

from fleet_protocol.wire.errors import Exit, RoadsteadError


class KeeperError(RoadsteadError):
    """The keeper cannot do its work as it was started."""

    phase = "running"
    component = "keeper"
    code = "E0760"


class WrongNetworkError(KeeperError):
    """The process is not in the network namespace that it was told to expect; it connects to nobody."""

    phase = "connecting"
    code = "E0761"
    exit_status = Exit.NOT_ALLOWED


class StateError(KeeperError):
    """Something that the keeper or prepare wrote cannot be read."""

    phase = "reading the state"
    code = "E0762"


class NoSuchGroupError(KeeperError):
    """The group that shall own the local socket is not known on this host."""

    phase = "starting"
    code = "E0763"
    exit_status = Exit.USAGE


class AskError(RoadsteadError):
    """A question over the local socket could not be answered."""

    phase = "asking"
    component = "edge-daemon"
    code = "E0770"


class NotRunningError(AskError):
    """Nobody answers on the local socket."""

    code = "E0771"
    exit_status = Exit.UNREACHABLE


class NotAllowedError(AskError):
    """Only root, or the user that the daemon runs as, may ask."""

    code = "E0772"
    exit_status = Exit.NOT_ALLOWED


class ActError(AskError):
    """What an operator on this host asked for cannot be done."""

    phase = "acting for an operator on this host"
    code = "E0774"
    exit_status = Exit.CONFLICT
