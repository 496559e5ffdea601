"""A device's (or the server's) MQTT session for tests, driven by hand: no thread, no sleep."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from provisioning_support import Broker

PATIENCE_S = 5.0
QUIET_S = 0.3


class Device:
    """Connected on entry."""

    def __init__(
        self,
        broker: Broker,
        name: str,
        *,
        client_id: str | None = None,
        files: tuple[Path, Path] | None = None,
        protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5,
    ) -> None:
        self.serial = 0
        if files is None:
            certificate, key, self.serial = broker.client_files(name)
            files = certificate, key
        context = ssl.create_default_context(cafile=str(broker.folder / "ca.pem"))
        context.load_cert_chain(*files)
        self._broker = broker
        self._connected = False
        self._reasons: dict[int, str] = {}
        self._heard: list[tuple[str, bytes]] = []
        self._subscribed = False
        self.refused = ""
        self.client = Client(CallbackAPIVersion.VERSION2, client_id or name, protocol=protocol)
        self.client.tls_set_context(context)
        self.client.on_connect = self._on_connect
        self.client.on_publish = self._on_publish
        self.client.on_subscribe = self._on_subscribe
        self.client.on_message = self._on_message

    def __enter__(self) -> Self:
        self.client.connect("127.0.0.1", self._broker.port, keepalive=60)
        self._until(lambda: self._connected)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.client.disconnect()
        self.client.loop(0.01)

    def publish(self, topic: str, data: bytes, *, retain: bool = False) -> str:
        """The broker's reason, or "lost" when the connection ended."""
        sent = self.client.publish(topic, data, qos=1, retain=retain)
        return self._reasons[sent.mid] if self._until(lambda: sent.mid in self._reasons) else "lost"

    def subscribe(self, topics: str) -> None:
        self._subscribed = False
        self.client.subscribe(topics, qos=1)
        assert self._until(lambda: self._subscribed)

    def heard(self, count: int) -> set[tuple[str, bytes]]:
        self._until(lambda: len(self._heard) >= count)
        return set(self._heard)

    def heard_nothing(self) -> bool:
        ends = time.monotonic() + QUIET_S
        while time.monotonic() < ends:
            self.client.loop(0.02)
        return not self._heard

    def is_connected(self) -> bool:
        """After everything that the broker sent so far was read."""
        ends = time.monotonic() + QUIET_S
        while time.monotonic() < ends:
            if self.client.loop(0.02) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return False
        return True

    def _until(self, holds: Any) -> bool:
        ends = time.monotonic() + PATIENCE_S
        while not holds():
            if self.client.loop(0.05) != MQTTErrorCode.MQTT_ERR_SUCCESS or time.monotonic() > ends:
                return bool(holds())
        return True

    def _on_connect(self, _client: Client, _data: Any, _flags: Any, reason: Any, _props: Any) -> None:
        self._connected = not reason.is_failure
        self.refused = str(reason) if reason.is_failure else ""

    def _on_publish(self, _client: Client, _data: Any, mid: int, reason: Any, _props: Any) -> None:
        self._reasons[mid] = str(reason) if reason.is_failure else "Success"  # "No matching subscribers" is one too

    def _on_subscribe(self, _client: Client, _data: Any, _mid: int, _reasons: Any, _props: Any) -> None:
        self._subscribed = True

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self._heard.append((message.topic, bytes(message.payload)))


def connect_refusal(broker: Broker, files: tuple[Path, Path] | None) -> bool:
    """Whether a TLS client with this certificate (or none) is turned away before its first packet is answered."""
    context = ssl.create_default_context(cafile=str(broker.folder / "ca.pem"))
    if files:
        context.load_cert_chain(*files)
    import socket

    connect = bytes.fromhex("101100044d5154540502003c00000464657631")  # MQTT 5 CONNECT as dev1
    with socket.create_connection(("127.0.0.1", broker.port), timeout=5) as raw:
        try:
            with context.wrap_socket(raw, server_hostname="127.0.0.1") as wrapped:
                wrapped.sendall(connect)
                answer = wrapped.recv(4)
        except (ssl.SSLError, ConnectionError):
            return True
    return answer == b""
