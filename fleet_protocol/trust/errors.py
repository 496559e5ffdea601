"""What verification can say no with: one class, and so one code, for each kind of refusal."""

from __future__ import annotations

from fleet_protocol.wire.errors import Exit, RoadsteadError, TrustError


class AlarmError(TrustError):
    """Something that honest parts never produce: damaged or missing floors, one generation with two contents."""

    code = "E0201"


class OtherDeviceError(TrustError):
    """A desired state of another device."""

    code = "E0202"


class OlderGenerationError(TrustError):
    """A desired state older than the accepted one."""

    code = "E0203"


class ExpiredError(TrustError):
    """Signed once, and too old to be accepted now. What runs keeps running."""

    code = "E0204"


class MetadataError(TrustError):
    """TUF metadata whose signatures, versions, hashes or form do not hold."""

    code = "E0205"


class UnsignedReleaseError(TrustError):
    """A release that the app's own role does not list, or lists with other content."""

    code = "E0206"


class WithdrawnError(TrustError):
    """A release that its signers withdrew."""

    code = "E0207"


class CounterError(TrustError):
    """A release below the security floor of its app."""

    code = "E0208"


class ConfigurationError(TrustError):
    """A configuration value that the release does not declare or allow."""

    code = "E0209"


class PolicyError(TrustError):
    """More than the owner of this host allows."""

    code = "E0210"


class RoleConflictError(RoadsteadError):
    """Another version came first; read it, build on it, and try again."""

    phase = "storing metadata"
    component = "repository"
    code = "E0211"
    exit_status = Exit.CONFLICT


class NotThereError(RoadsteadError):
    """The other side answered, and does not have it."""

    phase = "fetching"
    component = "server"
    code = "E0212"
    exit_status = Exit.NOT_FOUND
