"""How prepare refuses: one class for each phase, each with its own code."""

from __future__ import annotations

from fleet_protocol.wire.errors import RoadsteadError


class PrepareError(RoadsteadError):
    """The one-shot itself could not go on."""

    phase = "preparing"
    component = "prepare"
    code = "E0400"


class PolicyFileError(RoadsteadError):
    """policy.json is not what its schema says: nothing new is accepted until it is."""

    phase = "reading the host's policy"
    component = "policy"
    code = "E0410"


class PlanError(RoadsteadError):
    """The host has no room, or no image for its platform."""

    phase = "planning"
    component = "planner"
    code = "E0420"


class AdmissionError(RoadsteadError):
    """The host cannot promise what the limits ask. Nothing was fetched or changed."""

    phase = "planning"
    component = "admission"
    code = "E0428"


class FetchError(RoadsteadError):
    """Bytes did not come, or were not those that were signed."""

    phase = "fetching"
    component = "downloader"
    code = "E0430"


class ImageError(RoadsteadError):
    """A manifest or an image configuration is not acceptable."""

    phase = "reading an image"
    component = "image reader"
    code = "E0440"


class UnpackError(RoadsteadError):
    """A layer is not acceptable, or is larger than was signed."""

    phase = "unpacking"
    component = "unpacker"
    code = "E0450"


class SealError(RoadsteadError):
    """A revision cannot be written as it would have to be."""

    phase = "sealing"
    component = "sealer"
    code = "E0460"
