"""What prepare says on its standard output: JSON lines of progress, and one last line with the outcome."""

from __future__ import annotations

import json
from typing import IO, Any

from edge_daemon.prepare.plan import megabytes
from fleet_protocol.wire.errors import RoadsteadError


class Report:
    """The keeper reads lines; a person may as well."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._last = ("", "")

    def progress(self, phase: str, detail: str = "") -> None:
        """One line, unless it says what the one before said."""
        if (phase, detail) != self._last:
            self._last = (phase, detail)
            self._line({"progress": phase, "detail": detail})

    def outcome(self, kind: str, generation: int, sha256: str) -> None:
        """`sealed` or `current`; the hash is that of the document's payload, as in the index."""
        self._line({kind: {"generation": generation, "sha256": sha256}})

    def checked(self, stops: list[dict[str, str]], unread: list[str]) -> None:
        """The last line of a look for withdrawals; `unread` are apps of which nothing could be learnt."""
        self._line({"checked": {"stops": stops, "unread": unread}})

    def refused(self, error: RoadsteadError) -> None:
        """The last line when nothing was accepted."""
        self._line({"refused": error.as_dict()})

    def _line(self, fields: dict[str, Any]) -> None:
        self._out.write(json.dumps(fields) + "\n")
        self._out.flush()


class FetchProgress:
    """Words for how far the downloads are."""

    def __init__(self, report: Report, blobs: int, total_bytes: int) -> None:
        self._report = report
        self._blobs = blobs
        self._total = total_bytes
        self._done = 0
        self._bytes = 0

    def within(self, count: int) -> None:
        """So many bytes of the present blob are here."""
        self._say(self._bytes + count)

    def finished(self, count: int) -> None:
        """One more blob is here whole; `count` of its bytes were fetched."""
        self._done += 1
        self._bytes += count
        self._say(self._bytes)

    def _say(self, count: int) -> None:
        share = 100 if self._total == 0 else min(100, 100 * count // self._total)
        self._report.progress(
            "fetching", f"{self._done} of {self._blobs} blobs, {share} % of {megabytes(self._total)} MB"
        )
