"""Which Debian mirror the machine's own apt uses, for the guests to be built from.

Reads both forms of apt's files: one-line (`.list`) and deb822 (`.sources`). Names no host of its own.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

APT_FOLDER = Path("/etc/apt")
DEBIAN_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SUITE = "bookworm"
WANTED_SUITES = (SUITE, f"{SUITE}-security")
ONE_LINE = re.compile(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)")


class NoMirrorError(Exception):
    """The machine's apt sources name no mirror of the guests' Debian release."""


@dataclass(frozen=True, slots=True)
class Source:
    """One suite of one archive; `signed_by` is empty where apt's own trusted keys decide."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str

    @property
    def is_debian(self) -> bool:
        """Debian's own archive, not a third party that names its suites alike."""
        signer_fits = not self.signed_by or "debian-archive" in self.signed_by
        return self.suite in WANTED_SUITES and "main" in self.components and signer_fits

    def line(self) -> str:
        """The source as one line for mmdebstrap, of `main` only."""
        return f"deb [signed-by={DEBIAN_KEYRING}] {self.uri} {self.suite} main"


def guest_sources(apt_folder: Path = APT_FOLDER) -> list[str]:
    """One-line sources for the guests, each once; raises NoMirrorError when the release itself is not among them."""
    found = [source for source in _all_sources(apt_folder) if source.is_debian]
    if not any(source.suite == SUITE for source in found):
        raise NoMirrorError(f"no source under {apt_folder} has the suite {SUITE} with the component main")
    return list(dict.fromkeys(source.line() for source in found))


def _all_sources(apt_folder: Path) -> Iterator[Source]:
    parts = apt_folder / "sources.list.d"
    for path in (apt_folder / "sources.list", *sorted(parts.glob("*.list"))):
        if path.is_file():
            yield from parse_one_line(path.read_text())
    for path in sorted(parts.glob("*.sources")):
        yield from parse_deb822(path.read_text())


def parse_one_line(text: str) -> Iterator[Source]:
    """The `deb` lines of a `.list` file."""
    for line in text.splitlines():
        if found := ONE_LINE.fullmatch(line.split("#", 1)[0].strip()):
            options = dict(word.split("=", 1) for word in (found["options"] or "").split() if "=" in word)
            components = tuple(found["components"].split())
            yield Source(found["uri"], found["suite"], components, options.get("signed-by", ""))


def parse_deb822(text: str) -> Iterator[Source]:
    """The stanzas of a `.sources` file, one source for each URI and suite."""
    for stanza in re.split(r"\n\s*\n", text):
        fields = _fields(stanza)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes") == "no":
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                components = tuple(fields.get("components", "").split())
                yield Source(uri, suite, components, fields.get("signed-by", ""))


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in {" ", "\t"} and name:
            fields[name] += " " + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields
