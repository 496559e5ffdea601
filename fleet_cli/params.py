"""What people type, checked before anything is asked of a server: labels, names, durations, files."""

from __future__ import annotations

import re
from pathlib import Path

import click

from fleet_protocol.wire import bounds

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

existing_file = click.Path(exists=True, dir_okay=False, path_type=Path)


class LabelType(click.ParamType[tuple[str, str]]):
    """`site=lyon`, as a pair."""

    name = "KEY=VALUE"

    def convert(
        self, value: str | tuple[str, str], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Both parts within the bounds of labels."""
        if isinstance(value, tuple):
            return value
        key, equals, text = value.partition("=")
        if not equals:
            self.fail(f"{value!r}: wants KEY=VALUE", param, ctx)
        if not bounds.matches(bounds.LABEL_KEY_PATTERN, key):
            self.fail(f"{key!r} cannot be a label's key: a-z, then a-z 0-9 . _ -, at most 32", param, ctx)
        if not bounds.matches(bounds.LABEL_VALUE_PATTERN, text):
            self.fail(f"{text!r} cannot be a label's value: A-Z a-z 0-9 and . _ - / : , at most 63", param, ctx)
        return key, text


class DurationType(click.ParamType[str]):
    """`30m`, `24h`, `7d`, within bounds; keeps what was typed."""

    name = "DURATION"

    def __init__(self, least: str, most: str) -> None:
        self.least, self.most = least, most

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text as it is, when `seconds` can read it."""
        if not re.fullmatch(r"[0-9]{1,9}[smhd]", value):
            self.fail(f"{value!r}: wants a number and s, m, h or d", param, ctx)
        if not seconds(self.least) <= seconds(value) <= seconds(self.most):
            self.fail(f"{value!r}: wants {self.least} to {self.most}", param, ctx)
        return value


class PatternType(click.ParamType[str]):
    """A name of ours."""

    def __init__(self, name: str, pattern: str, words: str) -> None:
        self.name, self._pattern, self._words = name, pattern, words

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name."""
        if not bounds.matches(self._pattern, value):
            self.fail(f"{value!r} cannot be a name: {self._words}", param, ctx)
        return value


LABEL = LabelType()
APP = PatternType("APP", bounds.NAME_PATTERN, "a-z, 0-9 and hyphens inside, at most 32")
DEVICE = PatternType("NAME", bounds.ID_PATTERN, "a-z, 0-9 and hyphens inside, at most 48")
VERSION = PatternType("VERSION", bounds.VERSION_PATTERN, "letters, digits and . + - inside, at most 64")


def seconds(text: str) -> int:
    """Of `30m`."""
    return int(text[:-1]) * UNITS[text[-1]]
