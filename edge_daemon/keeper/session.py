"""The MQTT 5 session with the broker: one connection after another, driven by the reactor, nothing remembered in paho.

Each connection has a client object of its own and starts clean: `desired` is retained, events are sent again until the
server acknowledges them, and a request from before an outage must not be carried out after it. So there is no queue in
RAM that could repeat or lose anything. Reason codes are read: what the broker denies is an alarm, never a silent loss.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import NamedTuple, Protocol

from edge_daemon.keeper.clock import NEVER, boottime, full_jitter
from edge_daemon.keeper.dial import Dial
from edge_daemon.keeper.lean import (
    CallbackAPIVersion,
    PacketTypes,
    Properties,
    ReasonCode,
    SubscribeOptions,
    mqtt,
)
from edge_daemon.keeper.reactor import READ, WRITE, Reactor
from edge_daemon.layout import Layout
from edge_daemon.sealed import Identity
from fleet_protocol.wire.bounds import MAX_DESIRED_BYTES
from fleet_protocol.wire.errors import RoadsteadError
from fleet_protocol.wire.topics import TO_DEVICE, Channel, parse_topic, topic

KEEPALIVE_S = 60
MISC_EVERY_S = 5.0
ANSWER_S = 20.0  # for CONNACK
MAX_PACKET = 2 * MAX_DESIRED_BYTES
PACKETS_A_TURN = 64
RETRY_BASE_S, RETRY_CAP_S = 1.0, 60.0
STEADY_S = 60.0
"""A connection that lasted this long was good: the next attempt after it comes quickly."""
WITH_WILL = 0x04


class Awaited(NamedTuple):
    """Who waits for the broker's answer to one publication."""

    channel: Channel
    then: Callable[[bool], None] | None


class Listener(Protocol):
    """Who uses the session."""

    def session_up(self) -> None:
        """Connected and subscribed."""

    def session_down(self, why: str) -> None:
        """Not connected any more, or this attempt did not succeed."""

    def session_denied(self, what: str) -> None:
        """The broker refused to take or to give something."""

    def session_message(self, channel: Channel, payload: bytes, properties: list[tuple[str, str]]) -> None:
        """A message to this device."""


class Client(mqtt.Client):
    """paho's client on a socket that is already open, with an eye on how much a hostile broker makes it hold."""

    def adopt(self, sock: ssl.SSLSocket, host: str, port: int) -> None:
        """Speak MQTT over `sock`."""
        self._adopted = sock
        self.connect_async(host, port, KEEPALIVE_S, clean_start=True, properties=_connect_properties())
        self.reconnect()

    def _create_socket(self) -> ssl.SSLSocket:
        return self._adopted

    def oversized(self) -> bool:
        """Whether the packet being received is longer than we told the broker that we take."""
        return bool(self._in_packet["remaining_length"] > MAX_PACKET)


def _connect_properties() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 0
    properties.MaximumPacketSize = MAX_PACKET
    properties.ReceiveMaximum = 20
    return properties


class Session:
    """At most one connection or attempt at a time."""

    def __init__(
        self,
        layout: Layout,
        identity: Identity,
        reactor: Reactor,
        listener: Listener,
        *,
        chance: Callable[[], float],
        floor: Callable[[], int],
        before_dialling: Callable[[], None],
        offline: bytes,
    ) -> None:
        self.up = False
        self._layout = layout
        self._identity = identity
        self._reactor = reactor
        self._listener = listener
        self._chance = chance
        self._floor = floor
        self._before_dialling = before_dialling
        self._offline = offline
        self._topics = {channel: topic(identity["device_id"], channel) for channel in Channel}
        self._dial: Dial | None = None
        self._client: Client | None = None
        self._fd = -1
        self._mask = 0
        self._failures = 0
        self._dial_at = 0.0
        self._since = 0.0
        self._misc_at = NEVER
        self._more = False  # decrypted bytes wait in OpenSSL, of which the selector knows nothing
        self._waiting: dict[int, Awaited] = {}  # by message id

    # -- the loop's side

    def step(self, now: float) -> float:
        """Connect when it is time, keep alive. When to look again."""
        if self._client is not None:
            return self._tend(self._client, now)
        if self._dial is not None:
            if self._dial.finished:
                dial, self._dial = self._dial, None
                taken = dial.take()
                if isinstance(taken, RoadsteadError):
                    self._failed(taken.sentence(), now)
                else:
                    self._adopt(taken, now)
                return now
            return NEVER
        if now < self._dial_at:
            return self._dial_at
        self._before_dialling()
        self._dial = Dial(
            self._layout, self._identity["broker_host"], self._identity["broker_port"], self._floor(), self._reactor
        )
        return NEVER

    def publish(
        self, channel: Channel, payload: bytes, *, retain: bool = False, then: Callable[[bool], None] | None = None
    ) -> bool:
        """Send with QoS 1; `then` hears whether the broker took it, and nothing if the connection ends before.

        False if there is no connection.
        """
        client = self._client
        if client is None or not self.up:
            return False
        info = client.publish(self._topics[channel], payload, qos=1, retain=retain)
        if info.rc != mqtt.MQTT_ERR_SUCCESS:
            return False
        self._waiting[info.mid] = Awaited(channel, then)
        self._rewatch()
        return True

    def close(self) -> None:
        """Leave on purpose; the broker publishes the will, so `presence` says so."""
        if self._client is not None:
            client, self._client = self._client, None
            self._unwatch()
            client.on_disconnect = None
            client.disconnect(reasoncode=ReasonCode(PacketTypes.DISCONNECT, identifier=WITH_WILL))
            for _ in range(10):
                if not client.want_write():
                    break
                client.loop_write()
            client._sock_close()  # noqa: SLF001  paho closes it only when the broker does
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        self.up = False

    def hurry(self) -> None:
        """Try at once if waiting."""
        self._dial_at = 0.0

    # -- connecting

    def _adopt(self, sock: ssl.SSLSocket, now: float) -> None:
        client = Client(CallbackAPIVersion.VERSION2, client_id=self._identity["device_id"], protocol=mqtt.MQTTv5)
        client.max_queued_messages_set(64)
        client.will_set(self._topics[Channel.PRESENCE], self._offline, qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        self._client, self._since, self._misc_at = client, now, now + MISC_EVERY_S
        self._waiting.clear()
        self._fd = sock.fileno()
        client.adopt(sock, self._identity["broker_host"], self._identity["broker_port"])
        self._rewatch()

    def _on_connect(
        self, client: mqtt.Client, _data: object, _flags: object, code: ReasonCode, _properties: Properties | None
    ) -> None:
        if code.is_failure:
            self._lost(f"the broker refused the connection: {code.getName()}")
            return
        client.subscribe([(self._topics[c], SubscribeOptions(qos=1)) for c in TO_DEVICE])

    def _on_subscribe(
        self,
        _client: mqtt.Client,
        _data: object,
        _mid: int,
        codes: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        for channel, code in zip(TO_DEVICE, codes, strict=False):
            if code.is_failure:
                self._listener.session_denied(f"subscribing to {channel.value}: {code.getName()}")
        if not self.up:
            self.up = True
            self._listener.session_up()

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        parsed = parse_topic(message.topic)
        if parsed is None or parsed[0] != self._identity["device_id"] or parsed[1] not in TO_DEVICE:
            return
        pairs = getattr(message.properties, "UserProperty", None) or []
        self._listener.session_message(parsed[1], bytes(message.payload), pairs)

    def _on_publish(
        self, _client: mqtt.Client, _data: object, mid: int, code: ReasonCode, _properties: Properties
    ) -> None:
        awaited = self._waiting.pop(mid, None)
        if awaited is None:
            return
        if awaited.then is not None:
            awaited.then(not code.is_failure)
        if code.is_failure:
            self._listener.session_denied(f"publishing {awaited.channel.value}: {code.getName()}")

    def _on_disconnect(
        self, _client: mqtt.Client, _data: object, _flags: object, code: ReasonCode, _properties: Properties | None
    ) -> None:
        self._lost(f"the connection ended: {code.getName()}")

    # -- running

    def _tend(self, client: Client, now: float) -> float:
        if now >= self._misc_at:
            self._misc_at = now + MISC_EVERY_S
            client.loop_misc()
            if self._client is client and not self.up and now - self._since > ANSWER_S:
                self._lost("the broker did not answer")
        if self._more:
            self._more = False
            self._ready(READ)
        if self._client is not client:
            return now
        self._rewatch()
        return now if self._more else self._misc_at

    def _ready(self, mask: int) -> None:
        client = self._client
        if client is None:
            return
        if mask & WRITE:
            client.loop_write()
        if mask & READ:
            for _ in range(PACKETS_A_TURN):
                if client.loop_read() != mqtt.MQTT_ERR_SUCCESS or self._client is not client:
                    break
                if client.oversized():
                    self._lost(f"the broker sent a packet longer than {MAX_PACKET} bytes")
                    break
                sock = client.socket()
                # what OpenSSL has decrypted already wakes no selector
                if not isinstance(sock, ssl.SSLSocket) or not sock.pending():
                    break
            else:
                self._more = True  # come back on the next turn, after everybody else
        if self._client is client:
            self._rewatch()

    def _rewatch(self) -> None:
        if self._client is None or self._fd < 0:
            return
        mask = READ | (WRITE if self._client.want_write() else 0)
        if mask != self._mask:
            self._mask = mask
            self._reactor.watch(self._fd, self._ready, mask)

    def _unwatch(self) -> None:
        self._reactor.unwatch(self._fd)
        self._fd, self._mask, self._misc_at, self._more = -1, 0, NEVER, False

    def _lost(self, why: str) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        self._unwatch()
        client.on_disconnect = None
        client._sock_close()  # noqa: SLF001  without a DISCONNECT, so that the will is published
        now = boottime()
        if self.up and now - self._since >= STEADY_S:
            self._failures = 0
        self._failed(why, now)

    def _failed(self, why: str, now: float) -> None:
        self.up = False
        self._waiting.clear()
        # The first attempt after a loss comes within a second, the others spread out up to a minute.
        self._dial_at = now + full_jitter(self._failures, base=RETRY_BASE_S, cap=RETRY_CAP_S, chance=self._chance())
        self._failures += 1
        self._listener.session_down(why)
