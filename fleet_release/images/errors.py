"""Errors of finding, reading and uploading images."""

from __future__ import annotations

from fleet_protocol.wire.errors import RoadsteadError, UnreachableError


class ImageRefusedError(RoadsteadError):
    """An image or one of its documents is not what it claims to be, or could be read in two ways."""

    phase = "reading an image"
    component = "image reader"
    code = "E0801"


class ImageNotFoundError(RoadsteadError):
    """No image of this name or platform is where it was looked for."""

    phase = "resolving an image"
    component = "image source"
    code = "E0802"


class RegistryRefusedError(RoadsteadError):
    """A registry answered, but not with what was asked for."""

    phase = "reading from a registry"
    component = "registry client"
    code = "E0811"


class RegistryUnreachableError(UnreachableError):
    """A registry did not answer."""

    component = "registry client"
    code = "E0812"


class PushRefusedError(RoadsteadError):
    """The server did not take a blob or a manifest."""

    phase = "uploading an image"
    component = "image upload"
    code = "E0821"


EXPLANATIONS = {
    "E0801": (
        "The image is refused before it is signed: a digest or size that does not fit its bytes, a document that "
        "could be read as two kinds, a layer that is to be fetched from elsewhere, or a layer whose content is "
        "not what the configuration names. An edge host would refuse it too."
    ),
    "E0802": (
        "The image, or its variant for a platform, is not there. Name the file with --image NAME=PATH or under "
        "`images` in app.yaml, or push the image for that platform."
    ),
    "E0811": (
        "The registry refused the request or answered with something else. Credentials come from the container "
        "tools' own config.json; log in with them."
    ),
    "E0812": ("The registry could not be reached. Nothing was changed; run the command again."),
    "E0821": (
        "The Roadstead server refused a blob or a manifest. What arrived before is kept, and is not sent again "
        "next time."
    ),
}
