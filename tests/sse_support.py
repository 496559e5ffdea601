"""A screen's side of the stream, over real TLS: reads messages and keeps the window as docs/api.md says."""

from __future__ import annotations

import http.client
import json
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from server_process_support import ServerUnderTest


class Screen:
    """One connection. `rows` and `order` are what a person would see."""

    def __init__(self, server: ServerUnderTest, token: str = "", last: str = "", **query: Any) -> None:
        self.connection = http.client.HTTPSConnection("localhost", server.port, context=server.tls, timeout=20)
        headers = {"Authorization": f"Bearer {token or server.token}"}
        if last:
            headers["Last-Event-ID"] = last
        self.connection.request("GET", f"/v1/stream?{urlencode(query)}", headers=headers)
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200, self.answer.read()
        self.last = last
        self.rows: dict[str, dict[str, Any]] = {}
        self.order: list[str] = []
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.hello = self.until("hello")

    def message(self) -> tuple[str, dict[str, Any]]:
        """The next one."""
        fields: dict[str, str] = {}
        while (line := self.answer.readline().decode()) != "\n":
            assert line, "the stream ended"
            key, _, value = line.rstrip("\n").partition(": ")
            fields[key] = value
        self.last = fields.get("id", self.last)
        told = (fields["event"], json.loads(fields["data"]))
        self.told.append(told)
        if told[0] == "window":
            self._take(told[1])
        return told

    def until(self, kind: str, **wanted: Any) -> dict[str, Any]:
        """The next message of a kind, with these fields."""
        for _ in range(200):
            event, data = self.message()
            if event == kind and wanted.items() <= data.items():
                return data
        raise AssertionError(f"no {kind} with {wanted} in 200 messages")

    def _take(self, window: dict[str, Any]) -> None:
        if window["full"]:
            self.rows, self.order = {}, []
        self.order = window.get("order", self.order)
        for row in (*window["rows"], *window["marked"]):
            self.rows[row["device_id"]] = row
        assert set(self.order) <= set(self.rows), "a row that the screen shows was never told"

    def shown(self) -> list[str]:
        return [f"{name} {self.rows[name]['state']}" for name in self.order]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.answer.close()
        self.connection.close()
