"""The server's end of the wire, for tests of the keeper.

Nothing here sleeps for luck: `until` pumps the MQTT client and looks again.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from contextlib import suppress

import paho.mqtt.client as mqtt
from keeper_broker import SERVER, Broker
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from fleet_protocol.documents.device import Ack, Events, Presence, Reported
from fleet_protocol.wire.topics import Channel, topic


class Server:
    """The server's end of the wire. It stores events as the real one does and acknowledges them while `acking`."""

    def __init__(self, broker: Broker) -> None:
        self.acking = True
        self.reports: list[Reported] = []
        self.presence: list[Presence] = []
        self.arrived: list[tuple[str, int]] = []  # every event as it came, repeated ones too
        self.stored: dict[tuple[str, int], str] = {}
        self.kinds: list[str] = []
        self._broker = broker
        own = broker.ca.issue_cert(common_name=SERVER)
        context = ssl.create_default_context(cafile=str(broker.folder / "ca.pem"))
        with own.private_key_and_cert_chain_pem.tempfile() as file:
            context.load_cert_chain(file)
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, SERVER, protocol=mqtt.MQTTv5)  # type: ignore[attr-defined]
        self._client.tls_set_context(context)
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *_: client.subscribe("roadstead/v1/devices/#", qos=1)

    def connect(self) -> None:
        self._client.connect("127.0.0.1", self._broker.port, clean_start=True)
        self.until(self._client.is_connected)

    def close(self) -> None:
        if self._client.is_connected():
            self._client.disconnect()
            self._client.loop(0.05)
        if (sock := self._client.socket()) is not None:
            sock.close()

    def pump(self, seconds: float = 0.02) -> None:
        end = time.monotonic() + seconds
        while True:
            if self._client.loop(max(0.0, end - time.monotonic())) != mqtt.MQTT_ERR_SUCCESS:
                with suppress(OSError):
                    self._client.reconnect()
                time.sleep(0.02)
            if time.monotonic() >= end:
                return

    def until(self, true: Callable[[], object], *, seconds: float = 15.0, why: str = "") -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, why or "it did not come true in time"
            self.pump()

    @staticmethod
    def until_closed(true: Callable[[], object], *, seconds: float = 15.0) -> None:
        """The same while there is no broker to hear."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, "it did not come true in time"
            time.sleep(0.05)

    def publish(
        self, payload: bytes, generation: int | None = None, sha256: str = "", channel: Channel = Channel.DESIRED
    ) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if generation is not None:
            properties.UserProperty = [("generation", str(generation)), ("sha256", sha256)]
        self._client.publish(
            topic(self._broker.device, channel),
            payload,
            qos=1,
            retain=channel == Channel.DESIRED,
            properties=properties,
        )

    @property
    def last(self) -> Reported | None:
        return self.reports[-1] if self.reports else None

    def reported(self, true: Callable[[Reported], object], *, seconds: float = 15.0) -> Reported:
        """Wait until the newest report is so; what it then is."""
        end = time.monotonic() + seconds
        while self.last is None or not true(self.last):
            assert time.monotonic() < end, f"last report: {self.last}"
            self.pump()
        assert self.last is not None
        return self.last

    def count(self, kind: str) -> int:
        return self.kinds.count(kind)

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        payload = bytes(message.payload)
        match message.topic.rsplit("/", 1)[1]:
            case "reported":
                self.reports.append(Reported.parse(payload))
            case "presence" if payload:
                self.presence.append(Presence.parse(payload))
            case "events":
                self._store(Events.parse(payload))

    def _store(self, events: Events) -> None:
        for event in events.events:
            key = (events.spool, event.seq)
            self.arrived.append(key)
            text = f"{event.kind} {event.text}"
            assert self.stored.setdefault(key, text) == text, "one number, two events"
            if self.arrived.count(key) == 1:
                self.kinds.append(event.kind)
        if self.acking:
            self.acknowledge(events.spool)

    def acknowledge(self, spool: str) -> None:
        through = 0
        while (spool, through + 1) in self.stored:
            through += 1
        self.publish(Ack(spool=spool, through=through).to_bytes(), channel=Channel.ACKS)

    @property
    def spool(self) -> str:
        """The one spool of a test whose database stays."""
        (spool,) = {spool for spool, _ in self.stored}
        return spool

    def gaps(self) -> list[tuple[str, int]]:
        """Numbers that are missing below the highest of their spool."""
        spools = {spool for spool, _ in self.stored}
        return [
            (spool, n)
            for spool in spools
            for n in range(1, max(s for p, s in self.stored if p == spool))
            if (spool, n) not in self.stored
        ]
