"""The server's own errors. `status` is the HTTP status with which one leaves through the API."""

from __future__ import annotations

from fleet_protocol.wire.errors import DocumentInvalidError, Exit, RoadsteadError, TrustError


class ServerError(RoadsteadError):
    """Something that the server would not or could not do."""

    phase = "serving a request"
    component = "fleet-server"
    code = "E0900"
    status = 500

    def __init__(self, reason: str, *, element: str = "", retry: bool = False, hint: str = "") -> None:
        super().__init__(reason, element=element, retry=retry, hint=hint)
        self.headers: dict[str, str] = {}  # to go with the HTTP answer


class BadRequestError(ServerError):
    """What was sent does not make sense."""

    code = "E0901"
    status = 400
    exit_status = Exit.USAGE


class NotSignedInError(ServerError):
    """Nobody we know: no token, or one that is not valid (any more)."""

    code = "E0902"
    status = 401
    exit_status = Exit.NOT_ALLOWED


class NotAllowedError(ServerError):
    """Somebody we know, who may not do this."""

    code = "E0903"
    status = 403
    exit_status = Exit.NOT_ALLOWED


class NotFoundError(ServerError):
    """There is no such thing."""

    code = "E0904"
    status = 404
    exit_status = Exit.NOT_FOUND


class ConflictError(ServerError):
    """The world moved since the caller looked."""

    code = "E0905"
    status = 409
    exit_status = Exit.CONFLICT


class TooLargeError(ServerError):
    """More bytes than are allowed here."""

    code = "E0906"
    status = 413


class RangeError(ServerError):
    """The bytes asked for, or offered, are not where the other side thinks."""

    code = "E0907"
    status = 416


class RefusedError(ServerError):
    """Understood, and refused for what it says."""

    code = "E0908"
    status = 422


class TooManyRequestsError(ServerError):
    """Slow down."""

    code = "E0909"
    status = 429


class StoreError(ServerError):
    """The store cannot do what it was asked."""

    phase = "using the store"
    component = "store"
    code = "E0910"


class ReadOnlyError(StoreError):
    """A write while writes are refused: the caller promised to change nothing."""

    code = "E0911"


class SetupError(ServerError):
    """The server directory or its configuration is not usable."""

    phase = "setting the server up"
    code = "E0920"
    exit_status = Exit.USAGE


def http_status(error: RoadsteadError) -> int:
    """The status for an error of ours, or of a part that knows nothing of HTTP."""
    if isinstance(error, ServerError):
        return error.status
    said = getattr(error, "status", None)
    if isinstance(said, int) and 400 <= said <= 599:
        return said
    if isinstance(error, DocumentInvalidError):
        return 400
    if isinstance(error, TrustError):
        return 422
    return {
        Exit.USAGE: 400,
        Exit.NOT_FOUND: 404,
        Exit.NOT_ALLOWED: 403,
        Exit.CONFLICT: 409,
        Exit.TRUST: 422,
    }.get(error.exit_status, 422)
