"""The broker as a process: found by its pid file, looked at, and signalled through a handle that names no other."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

BROKER = "mosquitto"


class BrokerProcess:
    """Whatever runs under the pid that mosquitto wrote, as long as it is a mosquitto."""

    def __init__(self, pid_file: Path) -> None:
        self._pid_file = pid_file

    def runs(self) -> bool:
        """Whether there is one."""
        handle = self._open()
        if handle is None:
            return False
        os.close(handle)
        return True

    def reload(self) -> bool:
        """Have it read its files again; False if there is none."""
        handle = self._open()
        if handle is None:
            return False
        try:
            signal.pidfd_send_signal(handle, signal.SIGHUP)
        except ProcessLookupError:  # it ended between our look and our signal
            return False
        finally:
            os.close(handle)
        return True

    def end(self, patience_s: float = 5.0) -> bool:
        """End it, by force if need be: a supervisor starts it afresh, or nobody gets in. False if there is none."""
        handle = self._open()
        if handle is None:
            return False
        try:
            for how in (signal.SIGTERM, signal.SIGKILL):
                signal.pidfd_send_signal(handle, how)
                if select.select([handle], [], [], patience_s)[0]:
                    break
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)
        return True

    def _open(self) -> int | None:
        """A pidfd first and the look at its name second: what was looked at is then what is signalled."""
        try:
            pid = int(self._pid_file.read_text(encoding="ascii")[:12])
            handle = os.pidfd_open(pid)
        except (OSError, ValueError):
            return None
        try:
            # "123 (name) S ...": a zombie is no broker any more
            _, _, rest = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").partition("(")
            name, _, state = rest.partition(") ")
        except OSError:
            name, state = "", ""
        if name != BROKER or state[:1] in ("Z", "X"):
            os.close(handle)
            return None
        return handle
