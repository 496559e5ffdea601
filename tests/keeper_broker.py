"""A real mosquitto with mutual TLS on a port of its own, for tests of the keeper."""

from __future__ import annotations

import json
import queue
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import trustme

from edge_daemon.layout import Layout

DEVICE = "cam-1"
SERVER = "roadstead-server"

CONFIG = """
listener {port} 127.0.0.1
cafile {dir}/ca.pem
certfile {dir}/server.pem
keyfile {dir}/server.key
require_certificate true
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
acl_file {dir}/acl
user root
persistence false
max_queued_messages 10000
max_inflight_messages 100
"""
ACL = """
user {device}
topic read roadstead/v1/devices/{device}/desired
topic read roadstead/v1/devices/{device}/acks
topic read roadstead/v1/devices/{device}/requests
topic write roadstead/v1/devices/{device}/reported
topic write roadstead/v1/devices/{device}/events
topic write roadstead/v1/devices/{device}/presence

user {server}
topic readwrite roadstead/v1/devices/#
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Broker:
    """One mosquitto of ours, on a port that stays over restarts."""

    def __init__(self, folder: Path, device: str = DEVICE, **certificate: Any) -> None:
        self.folder = folder
        self.device = device
        self.port = free_port()
        self.ca = trustme.CA()
        self.ca.cert_pem.write_to_path(str(folder / "ca.pem"))
        self.renew(**certificate)
        self.allow(ACL)
        (folder / "mosquitto.conf").write_text(CONFIG.format(dir=folder, port=self.port))
        self._process: subprocess.Popen[str] | None = None
        self._pump: threading.Thread | None = None

    def renew(self, **certificate: Any) -> None:
        """Another server certificate; `not_after` as trustme takes it."""
        own = self.ca.issue_cert("127.0.0.1", **certificate)
        own.private_key_pem.write_to_path(str(self.folder / "server.key"))
        (self.folder / "server.pem").write_bytes(b"".join(p.bytes() for p in own.cert_chain_pems))

    def allow(self, acl: str) -> None:
        (self.folder / "acl").write_text(acl.format(device=self.device, server=SERVER))

    def start(self) -> None:
        process = subprocess.Popen(
            ["/usr/sbin/mosquitto", "-c", str(self.folder / "mosquitto.conf")], stderr=subprocess.PIPE, text=True
        )
        said: queue.Queue[str] = queue.Queue()

        def pump() -> None:
            assert process.stderr is not None
            for line in process.stderr:
                said.put(line)
            said.put("")

        self._process, self._pump = process, threading.Thread(target=pump)
        self._pump.start()
        while "running" not in (line := said.get(timeout=10)):
            assert line, f"mosquitto ended with status {process.wait()}"

    def reload(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def go_on(self) -> None:
        """After a SIGSTOP."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            if number == signal.SIGSTOP:
                return
            self._process.wait(10)
            assert self._pump is not None
            self._pump.join()
            assert self._process.stderr is not None
            self._process.stderr.close()
            self._process = None

    def enrol(self, layout: Layout, server_url: str = "https://127.0.0.1:1") -> None:
        """What enrolment leaves in the state directory."""
        layout.identity.mkdir(parents=True, mode=0o700, exist_ok=True)
        own = self.ca.issue_cert(common_name=self.device)
        own.private_key_pem.write_to_path(str(layout.device_key))
        (layout.device_cert).write_bytes(b"".join(p.bytes() for p in own.cert_chain_pems))
        shutil.copy(self.folder / "ca.pem", layout.ca)
        layout.identity_json.write_text(
            json.dumps(
                {
                    "device_id": self.device,
                    "server_url": server_url,
                    "broker_host": "127.0.0.1",
                    "broker_port": self.port,
                }
            )
        )
