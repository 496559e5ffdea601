"""Runs in the guest: `many_connections.py ADDRESS COUNT PORT...` talks to echo services over many connections at once.

All connections to all ports are open together before any is used in earnest; each then sends 32 KiB of its own,
closes its sending half, and reads to the end. Prints {"opened": .., "intact": .., "open_seconds": .., "seconds": ..}.
"""

import json
import selectors
import socket
import sys
import time

PAYLOAD = 32 * 1024
TIMEOUT_S = 60.0


def main(address: str, count: int, ports: list[int]) -> None:
    """Open, greet, exchange."""
    began = time.monotonic()
    lines = [socket.create_connection((address, port), timeout=TIMEOUT_S) for port in ports for _ in range(count)]
    for line in lines:
        line.sendall(b"?")
    opened = sum(line.recv(1) == b"?" for line in lines)
    open_seconds = time.monotonic() - began
    intact = exchange(lines)
    for line in lines:
        line.close()
    seconds = time.monotonic() - began
    print(json.dumps({"opened": opened, "intact": intact, "open_seconds": open_seconds, "seconds": seconds}))


def exchange(lines: list[socket.socket]) -> int:
    """Send each connection its own bytes, all at the same time; how many came back whole."""
    heard = {line: bytearray() for line in lines}
    unsent = {line: memoryview(content(line.fileno())) for line in lines}
    with selectors.DefaultSelector() as selector:
        for line in lines:
            line.setblocking(False)
            selector.register(line, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while selector.get_map():
            ready = selector.select(TIMEOUT_S)
            if not ready:
                break
            for key, events in ready:
                line = next(line for line in (key.fileobj,) if isinstance(line, socket.socket))
                if events & selectors.EVENT_WRITE:
                    unsent[line] = unsent[line][line.send(unsent[line]) :]
                    if not unsent[line]:
                        line.shutdown(socket.SHUT_WR)
                        selector.modify(line, selectors.EVENT_READ)
                if events & selectors.EVENT_READ:
                    data = line.recv(64 * 1024)
                    heard[line] += data
                    if not data:
                        selector.unregister(line)
    return sum(bytes(heard[line]) == content(line.fileno()) for line in lines)


def content(number: int) -> bytes:
    """Bytes that differ from connection to connection."""
    return number.to_bytes(4, "big") * (PAYLOAD // 4)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), [int(port) for port in sys.argv[3:]])
