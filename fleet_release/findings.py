"""Findings: what is wrong or worth knowing in a file, with its place, collected so that all are reported at once."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from fleet_protocol.wire.errors import Exit, RoadsteadError, inert

MAX_FINDINGS = 500
SHOWN = 160  # characters of a source line


class Severity(StrEnum):
    """An error stops a release; a warning and a note are printed."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file; line and column count from 1."""

    file: str
    line: int = 1
    column: int = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. `suggestion`: the word probably meant; `hint`: what to do; `source`: the line itself."""

    code: str
    file: str
    line: int
    column: int
    message: str
    suggestion: str = ""
    hint: str = ""
    source: str = ""
    severity: Severity = Severity.ERROR

    def headline(self) -> str:
        """`error[E0412] app.yaml:4:5 unknown key "mem_limt" (did you mean "mem_limit"?)`."""
        meant = f' (did you mean "{self.suggestion}"?)' if self.suggestion else ""
        return inert(f"{self.severity}[{self.code}] {self.file}:{self.line}:{self.column} {self.message}{meant}")

    def render(self) -> str:
        """Headline, source line, caret and hint."""
        out = [self.headline()]
        if self.source.strip():
            number = f"{self.line:5d}"
            # A line may be as long as its file: the part around the place is enough.
            start = max(0, self.column - 1 - SHOWN // 2) if len(self.source) > SHOWN else 0
            out.append(f"{number} | {inert(self.source[start : start + SHOWN].replace(chr(9), ' '))}")
            out.append(f"{' ' * len(number)} | {' ' * (self.column - 1 - start)}^")
        if self.hint:
            out.append(inert(f"      = {self.hint}"))
        return "\n".join(out)

    def as_dict(self) -> dict[str, object]:
        """The same for `-o json`."""
        return {
            "severity": self.severity.value,
            "code": self.code,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "message": inert(self.message),
            "suggestion": inert(self.suggestion),
            "hint": inert(self.hint),
        }


class FilesRefusedError(RoadsteadError):
    """Files with errors cannot become a release or a fleet. Every finding is carried."""

    phase = "reading the manifest"
    component = "lint"
    code = "E0411"
    exit_status = Exit.OTHER

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        first, more = findings[0], len(findings) - 1
        rest = f", and {more} more" if more else ""
        super().__init__(f"{first.message}{rest}", element=f"{first.file}:{first.line}:{first.column}", hint=first.hint)
        self.code = first.code
        self.findings = findings


class Findings:
    """Collects findings over several files. Nothing is raised before everything was looked at."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {}
        self._found: dict[tuple[str, str, int, int, str], Finding] = {}

    def source(self, file: str, text: str) -> None:
        """Remember the text of `file`, to quote its lines."""
        self._lines[file] = text.splitlines()

    def add(
        self,
        code: str,
        mark: Mark,
        message: str,
        *,
        suggestion: str = "",
        hint: str = "",
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Add one; the same one at the same place counts once."""
        lines = self._lines.get(mark.file, [])
        source = lines[mark.line - 1] if 0 < mark.line <= len(lines) else ""
        found = Finding(code, mark.file, mark.line, mark.column, message, suggestion, hint, source, severity)
        if len(self._found) < MAX_FINDINGS:
            self._found.setdefault((code, mark.file, mark.line, mark.column, message), found)

    def note(self, code: str, mark: Mark, message: str) -> None:
        """Something to know that stops nothing."""
        self.add(code, mark, message, severity=Severity.NOTE)

    def take(self, other: Findings, change: Callable[[Finding], Finding]) -> None:
        """All findings of `other`, each as `change` makes it."""
        self._lines.update(other._lines)
        for key, found in other._found.items():
            self._found.setdefault(key, change(found))

    def all(self) -> tuple[Finding, ...]:
        """In order of file and place, errors before the rest of the same line."""
        rank = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}
        return tuple(sorted(self._found.values(), key=lambda f: (f.file, f.line, rank[f.severity], f.column, f.code)))

    def any_at(self, mark: Mark) -> bool:
        """Whether something was found at this very place."""
        return any(key[1:4] == (mark.file, mark.line, mark.column) for key in self._found)

    def errors(self) -> tuple[Finding, ...]:
        """Only what stops a release."""
        return tuple(f for f in self.all() if f.severity is Severity.ERROR)

    def notes(self) -> tuple[Finding, ...]:
        """What stops nothing."""
        return tuple(f for f in self.all() if f.severity is not Severity.ERROR)

    def refuse(self) -> None:
        """Raises FilesRefusedError when there is any error."""
        if errors := self.errors():
            raise FilesRefusedError(errors)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant, or nothing. `memLimit` finds `mem_limit` too."""
    plain = {_squeezed(k): k for k in known}
    if found := plain.get(_squeezed(word)):
        return found
    close = difflib.get_close_matches(_squeezed(word), plain, n=1, cutoff=0.7)
    return plain[close[0]] if close else ""


def _squeezed(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")
