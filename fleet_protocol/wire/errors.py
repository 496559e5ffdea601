"""The one root of every error that a person may read.

An error is one sentence: *While <phase>, <component> failed for <element>: <reason>.*  Beside the sentence it
carries a stable code, the exit status of the command that ends with it, and whether trying again can help;
whoever raises it decides that, nobody guesses later.
"""

from __future__ import annotations

from enum import IntEnum

MAX_SENTENCE = 600


class Exit(IntEnum):
    """Exit statuses of all our commands."""

    OK = 0
    OTHER = 1
    USAGE = 2
    NOT_FOUND = 3
    NOT_ALLOWED = 4
    CONFLICT = 5
    ROLLOUT_FAILED = 6
    TIMED_OUT = 7
    UNREACHABLE = 8
    TRUST = 9
    CHANGES_PENDING = 10


class RoadsteadError(Exception):
    """Raised as a subclass that fixes phase, component, code and exit status; element and reason come with it."""

    phase = "working"
    component = "roadstead"
    code = "E0000"
    exit_status = Exit.OTHER

    def __init__(self, reason: str, *, element: str = "", retry: bool = False, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.element = element
        self.retry = retry
        self.hint = hint

    def sentence(self) -> str:
        """One sentence for a person, at most 600 characters, without control characters."""
        whom = f" for {self.element}" if self.element else ""
        text = f"While {self.phase}, {self.component} failed{whom}: {self.reason}"
        return inert(text)[:MAX_SENTENCE]

    def __str__(self) -> str:
        return self.sentence()

    def as_dict(self) -> dict[str, object]:
        """The same for a machine, as it stands in documents and `-o json`."""
        return {
            "code": self.code,
            "phase": self.phase,
            "component": self.component,
            "element": inert(self.element)[:200],
            "reason": inert(self.reason)[:400],
            "hint": inert(self.hint)[:200],
            "retry": self.retry,
            "sentence": self.sentence(),
        }


class DocumentInvalidError(RoadsteadError):
    """A document from outside is not what its schema says."""

    phase = "reading a document"
    component = "parser"
    code = "E0100"


class TrustError(RoadsteadError):
    """A signature, a floor or a signed bound was not met. Never retried by itself."""

    phase = "verifying"
    component = "verifier"
    code = "E0200"
    exit_status = Exit.TRUST


class UnreachableError(RoadsteadError):
    """A server or broker did not answer; nothing is wrong with what was asked."""

    phase = "connecting"
    component = "client"
    code = "E0300"
    exit_status = Exit.UNREACHABLE


def inert(text: str) -> str:
    """`text` with control, format and bidirectional characters replaced, so that a terminal only prints it."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
