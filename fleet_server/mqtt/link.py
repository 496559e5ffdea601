"""The connection to the broker: one thread with a loop of its own, MQTT 5 over mutual TLS.

Messages are acknowledged to the broker only after the store has committed them; as many as are at hand are one
transaction. Nothing depends on the connection: it ends with any error, and the next one starts from the store.
"""

from __future__ import annotations

import logging
import random
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from fleet_protocol.documents.desired import DESIRED_TYPE
from fleet_protocol.documents.device import Ack
from fleet_protocol.wire.errors import UnreachableError
from fleet_protocol.wire.topics import FROM_DEVICE, PREFIX, Channel, topic
from fleet_server.mqtt.intake import Incoming, Intake
from fleet_server.mqtt.queue import DesiredQueue
from fleet_server.store.records import DesiredRow

CLIENT_ID = "roadstead-server"
BATCH = 500
RECEIVE_MAXIMUM = 500
WINDOW = 100
MAX_PACKET = 256 * 1024
KEEPALIVE_S = 30
ANSWER_S = 15.0
BACKOFF_S = (0.5, 30.0)
MAX_DOUBLINGS = 10
CHECK = b'{"request":"check"}'
"""Look for withdrawals now. Unsigned: it makes a device fetch metadata, and nothing else."""

log = logging.getLogger("roadstead.link")


class BrokerLostError(UnreachableError):
    """The connection to the broker could not be made, or ended."""

    component = "broker link"
    code = "E0940"


@dataclass(frozen=True, slots=True)
class BrokerAccess:
    """Where the broker is and how the server proves itself to it."""

    host: str
    port: int
    ca: Path
    certificate: Path
    key: Path


class Link(threading.Thread):
    """Start it once; `stop` ends it. `all_devices` names every device with a desired state."""

    def __init__(
        self,
        access: BrokerAccess,
        intake: Intake,
        queue: DesiredQueue,
        rows: Callable[[Sequence[str]], dict[str, DesiredRow]],
        all_devices: Callable[[], Sequence[str]],
    ) -> None:
        super().__init__(name="broker-link", daemon=True)
        self._access = access
        self._intake = intake
        self._queue = queue
        self._rows = rows
        self._all_devices = all_devices
        self._stopping = threading.Event()
        self._wake_in, self._wake_out = socket.socketpair()
        for end in (self._wake_in, self._wake_out):
            end.setblocking(False)
        queue.wake = self._wake
        self._connected = threading.Event()

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the present connection and its subscriptions."""
        return self._connected.is_set()

    def stop(self) -> None:
        """Hang up and wait until the thread has ended."""
        self._stopping.set()
        self._wake()
        self.join(timeout=ANSWER_S)
        self._queue.wake = lambda: None
        self._wake_in.close()
        self._wake_out.close()

    def run(self) -> None:
        """Connect, serve, and connect again, until stopped."""
        failures = 0
        while not self._stopping.is_set():
            session = _Session(self._access, self._intake, self._queue, self._rows)
            try:
                session.open()
                log.info("connected to the broker at %s:%d", self._access.host, self._access.port)
                failures = 0
                self._connected.set()
                # The broker may have lost what it kept for the devices; all of it goes there again, at a measured pace.
                self._queue.put(self._all_devices())
                while not self._stopping.is_set():
                    session.turn(self._wake_out)
            except (OSError, ValueError, BrokerLostError) as error:
                log.warning("broker at %s:%d: %s", self._access.host, self._access.port, error)
            except (
                Exception
            ):  # a dead link thread would be silence; a store that is full, or a defect, is said and retried
                log.exception("the broker link failed")
            finally:
                self._connected.clear()
                session.close()
            failures += 1
            self._stopping.wait(backoff(failures, chance=random.random()))  # noqa: S311 (jitter)

    def _wake(self) -> None:
        with suppress(OSError):  # it is awake already, or gone
            self._wake_in.send(b"x")


def backoff(failures: int, *, chance: float) -> float:
    """Seconds to wait after so many failures in a row; `chance` in [0, 1) comes from the caller."""
    first, cap = BACKOFF_S
    ceiling = min(cap, first * 2.0 ** min(failures, MAX_DOUBLINGS))
    return ceiling / 2 + chance * ceiling / 2


def _readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]


class _Session:
    """One connection."""

    def __init__(
        self,
        access: BrokerAccess,
        intake: Intake,
        queue: DesiredQueue,
        rows: Callable[[Sequence[str]], dict[str, DesiredRow]],
    ) -> None:
        self._access, self._intake, self._queue, self._rows = access, intake, queue, rows
        self._inbox: list[mqtt.MQTTMessage] = []
        self._unanswered: set[int] = set()
        self._acks: dict[tuple[str, str], Ack] = {}
        self._window = 10
        self._lost = ""
        self._connack = self._suback = False
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=CLIENT_ID, protocol=mqtt.MQTTv5, manual_ack=True,
            reconnect_on_failure=False,
        )  # fmt: skip
        client.max_inflight_messages_set(WINDOW)  # what may be under way is decided here, by what the broker can take
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        self._client = client

    def open(self) -> None:
        """Connect and subscribe. Raises OSError, BrokerLostError."""
        tls = ssl.create_default_context(cafile=str(self._access.ca))
        tls.load_cert_chain(self._access.certificate, self._access.key)
        self._client.tls_set_context(tls)
        self._client.connect_timeout = ANSWER_S
        asked = _properties(PacketTypes.CONNECT)
        asked.ReceiveMaximum = RECEIVE_MAXIMUM
        asked.MaximumPacketSize = MAX_PACKET
        self._client.connect(
            self._access.host, self._access.port, keepalive=KEEPALIVE_S, clean_start=True, properties=asked
        )
        self._until(lambda: self._connack, "the broker did not answer")
        options = [
            (f"{PREFIX}/+/{channel.value}", SubscribeOptions(qos=0 if channel is Channel.SAMPLES else 1))
            for channel in FROM_DEVICE
        ]
        self._client.subscribe(options)
        self._until(lambda: self._suback, "the broker did not answer the subscription")

    def turn(self, wake: socket.socket) -> None:
        """Wait for something, read what is there, commit it, acknowledge it, publish what is due."""
        busy = bool(self._inbox)
        self._wait(0.0 if busy else self._patience(), wake)
        before = len(self._inbox)
        self._read()
        if self._inbox and (len(self._inbox) == before or len(self._inbox) >= BATCH):
            self._commit()
        self._publish_due()
        self._write()
        self._check(self._client.loop_misc())

    def close(self) -> None:
        """Say goodbye where that is possible, and let go of the socket."""
        with suppress(OSError, ValueError):
            self._client.disconnect()
            self._client.loop_write()
        sock = self._client.socket()
        if sock is not None:
            sock.close()

    # --- the loop's parts

    def _patience(self) -> float:
        """How long to sleep: briefly while the queue waits for its pace."""
        return 0.02 if self._queue.waiting() and len(self._unanswered) < self._window else 1.0

    def _wait(self, timeout: float, wake: socket.socket | None = None) -> None:
        sock = self._sock()
        if sock.pending():
            return
        # poll, not select: this process may hold more than 1024 descriptors.
        poll = select.poll()
        poll.register(sock, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
        if wake is not None:
            poll.register(wake, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(timeout * 1000)}
        if wake is not None and wake.fileno() in ready:
            with suppress(BlockingIOError):
                wake.recv(4096)

    def _read(self) -> None:
        """Everything that is at hand, up to a batch."""
        while len(self._inbox) < BATCH:
            sock = self._sock()
            if not sock.pending() and not _readable(sock):
                return
            self._check(self._client.loop_read())

    def _write(self) -> None:
        if self._client.want_write():
            self._check(self._client.loop_write())

    def _commit(self) -> None:
        inbox, self._inbox = self._inbox, []
        acks = self._intake.take([Incoming(m.topic, bytes(m.payload), m.retain) for m in inbox], time.time())
        for message in inbox:
            self._client.ack(message.mid, message.qos)
        self._acks.update({(device_id, ack.spool): ack for device_id, ack in acks})

    def _publish_due(self) -> None:
        """As much as the broker will take: acknowledgements first, then desired states at their pace."""
        while self._acks and len(self._unanswered) < self._window:
            (device_id, _), ack = self._acks.popitem()
            self._publish(topic(device_id, Channel.ACKS), ack.to_bytes())
        for name in self._queue.take_asking(self._window - len(self._unanswered)):
            self._publish(topic(name, Channel.REQUESTS), CHECK)
        free = self._window - len(self._unanswered)
        names = self._queue.take(free, time.monotonic()) if free > 0 else []
        rows = self._rows(names) if names else {}
        for name in names:
            if name in rows:
                self._desired(rows[name])

    def _desired(self, row: DesiredRow) -> None:
        told = _properties(PacketTypes.PUBLISH)
        told.ContentType = DESIRED_TYPE
        told.UserProperty = [("generation", str(row.generation)), ("sha256", row.sha256)]
        self._publish(topic(row.device_id, Channel.DESIRED), row.envelope, told, retain=True)

    def _publish(self, where: str, data: bytes, told: Properties | None = None, *, retain: bool = False) -> None:
        self._unanswered.add(self._client.publish(where, data, qos=1, retain=retain, properties=told).mid)

    def _until(self, done: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + ANSWER_S
        while not done():
            left = deadline - time.monotonic()
            if left <= 0:
                raise BrokerLostError(otherwise, element=self._where())
            self._write()
            self._wait(min(left, 0.5))
            self._read()
            self._check(self._client.loop_misc())

    def _sock(self) -> Any:
        sock = self._client.socket()
        if sock is None:
            raise BrokerLostError(self._lost or "the connection ended", element=self._where(), retry=True)
        return sock

    def _check(self, code: MQTTErrorCode) -> None:
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            reason = self._lost or mqtt.error_string(code)
            raise BrokerLostError(reason, element=self._where(), retry=True)

    def _where(self) -> str:
        return f"{self._access.host}:{self._access.port}"

    # --- paho's callbacks

    def _on_connect(self, _c: object, _u: object, _f: object, code: ReasonCode, told: Properties | None) -> None:
        if code.is_failure:
            self._lost = f"the broker refused: {code}"
            return
        self._window = max(1, min(int(getattr(told, "ReceiveMaximum", WINDOW)), WINDOW))
        self._connack = True

    def _on_subscribe(self, _c: object, _u: object, _m: int, codes: list[ReasonCode], _p: Properties | None) -> None:
        refused = [str(code) for code in codes if code.is_failure]
        if refused:
            raise BrokerLostError(f"the broker refused a subscription: {refused[0]}", element=self._where())
        self._suback = True

    def _on_disconnect(self, _c: object, _u: object, _f: object, code: ReasonCode, _p: Properties | None) -> None:
        self._lost = f"the broker ended the connection: {code}"

    def _on_publish(self, _c: object, _u: object, mid: int, code: ReasonCode, _p: Properties | None) -> None:
        self._unanswered.discard(mid)
        if code.is_failure:
            log.error("the broker refused a message: %s", code)

    def _on_message(self, _c: object, _u: object, message: mqtt.MQTTMessage) -> None:
        self._inbox.append(message)
