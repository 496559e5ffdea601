"""Configuration values: what a fleet may set, what labels it may use, and what comes out for one device. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from fleet_protocol.documents.desired import ValueByDigest
from fleet_protocol.documents.release import ConfigKey, Release
from fleet_protocol.trust.configuration import value_fault
from fleet_protocol.wire.bounds import LABEL_KEY_PATTERN, MAX_INLINE_VALUE_BYTES

PLACEHOLDER = re.compile(rf"\{{label\.({LABEL_KEY_PATTERN})\}}")


class UnfitValueError(ValueError):
    """A value that may not be set; its text is the reason."""


@dataclass(frozen=True, slots=True)
class Configured:
    """An app's configuration on one device: as it stands in the desired state, and the large values beside it."""

    values: Mapping[str, str | ValueByDigest]
    large: Mapping[str, bytes]  # by SHA-256


def uses_labels(values: Mapping[str, str]) -> bool:
    """Whether any value differs from device to device."""
    return any(PLACEHOLDER.search(value) for value in values.values())


def configured(release: Release, values: Mapping[str, str], labels: Mapping[str, str]) -> Configured:
    """`values` with labels put in, checked against what the release declares. Raises UnfitValueError."""
    out: dict[str, str | ValueByDigest] = {}
    large: dict[str, bytes] = {}
    for key, template in sorted(values.items()):
        declared = release.config.get(key)
        if declared is None:
            known = ", ".join(sorted(release.config)) or "nothing"
            raise UnfitValueError(f"{key} is not declared by {release.app} {release.version} (it declares {known})")
        value = substituted(key, template, labels)
        check(key, declared, value)
        data = value.encode()
        if len(data) <= MAX_INLINE_VALUE_BYTES:
            out[key] = value
        else:
            digest = hashlib.sha256(data).hexdigest()
            out[key], large[digest] = ValueByDigest(sha256=digest, size=len(data)), data
    return Configured(out, large)


def substituted(key: str, template: str, labels: Mapping[str, str]) -> str:
    """`template` with each `{label.name}` replaced. Raises UnfitValueError for a label that is not there."""

    def label(match: re.Match[str]) -> str:
        if match[1] not in labels:
            raise UnfitValueError(f"{key} uses label {match[1]}, which is not set")
        return labels[match[1]]

    return PLACEHOLDER.sub(label, template)


def check(key: str, declared: ConfigKey, value: str) -> None:
    """Raises UnfitValueError if the device would refuse this value: it is the device's own check. A value may be a
    secret, so no reason shows one."""
    try:
        data = value.encode()
    except UnicodeEncodeError as error:
        raise UnfitValueError(f"{key} holds characters that no value can hold") from error
    fault = value_fault(declared, data)
    if fault is not None:
        raise UnfitValueError(f"{key} {fault}")
