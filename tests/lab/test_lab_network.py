"""A guest reaches the two services that a test forwards to it, over a cable that can be pulled, and nothing else."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from qemu_command import SERVICES_ADDRESS
from snapshots import StartEdgeHost

SCRIPTS = "/mnt/source/tests/lab/guest_scripts"
PORTS = (8883, 8443)
CONNECTIONS = 40  # on each port, all open at once
SAY = "echo word | timeout 5 busybox nc server.lab 8883"


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(64 * 1024):
            self.request.sendall(data)


class _EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


@contextmanager
def echo_service() -> Iterator[int]:
    """A service on a free port of this machine's 127.0.0.1 that says back what it hears."""
    with _EchoServer(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join()


def test_many_connections_to_two_services_work_at_once(start_edge_host: StartEdgeHost) -> None:
    with echo_service() as broker, echo_service() as server:
        host = start_edge_host(forwards=dict(zip(PORTS, (broker, server), strict=True)))
        command = ["python3", f"{SCRIPTS}/many_connections.py", SERVICES_ADDRESS, str(CONNECTIONS), *map(str, PORTS)]
        report = json.loads(host.run(command).check().stdout)
        host.power_cut()
    assert (report["opened"], report["intact"]) == (2 * CONNECTIONS, 2 * CONNECTIONS)


def test_a_pulled_cable_cuts_and_a_plugged_one_restores(start_edge_host: StartEdgeHost) -> None:
    with echo_service() as port:
        host = start_edge_host(forwards={8883: port})
        assert host.run(SAY).stdout == "word\n"
        host.link(up=False)
        assert host.run(SAY).stdout == ""
        host.link(up=True)
        assert host.run(SAY).stdout == "word\n"
        host.power_cut()


def test_a_guest_reaches_nothing_that_is_not_forwarded(start_edge_host: StartEdgeHost) -> None:
    with echo_service() as port:
        host = start_edge_host(forwards={8883: port})
        for address, closed in ((SERVICES_ADDRESS, 8443), ("10.0.2.2", port), ("192.0.2.1", 80)):
            done = host.run(f"echo word | timeout 3 busybox nc {address} {closed}")
            assert (done.status != 0, done.stdout) == (True, ""), f"{address}:{closed} answered"
        host.power_cut()
