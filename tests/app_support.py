"""The server's real application over its real store, asked without a network, with a clock that a test sets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2

from fleet_server.board.board import Board
from fleet_server.build import build
from fleet_server.config import Layout, ServerConfig
from fleet_server.http.app import make_app
from fleet_server.init import init
from fleet_server.services import Services

NOW = 1_795_000_000


class App:
    """One server directory and its application."""

    def __init__(self, folder: Path) -> None:
        self.now = float(NOW)
        self.layout = Layout(folder / "server")
        init(self.layout, ServerConfig(("localhost",), "https://localhost:1", "127.0.0.1", 1, "127.0.0.1", 2), NOW)
        self._link = (server := build(self.layout)).link
        board = Board(server.services.store, lambda: self.now)
        self.services: Services = replace(server.services, clock=lambda: self.now, board=board)
        self.app = make_app(self.services)
        self.token = self.layout.admin_token.read_text().strip()

    def ask(
        self, method: str, path: str, body: Any = None, *, token: str = "", headers: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        """One request; `token` "" is the admin's."""

        async def send() -> httpx2.Response:
            transport = httpx2.ASGITransport(app=self.app, raise_app_exceptions=False)
            async with httpx2.AsyncClient(transport=transport, base_url="https://localhost") as client:
                sent = {"Authorization": f"Bearer {token or self.token}", **(headers or {})}
                data = None if body is None else json.dumps(body).encode()
                return await client.request(method, path, content=data, headers=sent)

        return asyncio.run(send())

    def token_for(self, name: str, role: str = "viewer", **more: Any) -> str:
        answer = self.ask("POST", "/v1/api-tokens", {"name": name, "role": role, **more})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    def close(self) -> None:
        self._link._stopping.set()  # it never connects, and so closes what it holds
        self._link.start()
        self._link.stop()
        self.services.store.close()


@contextmanager
def an_app(folder: Path) -> Iterator[App]:
    made = App(folder)
    try:
        yield made
    finally:
        made.close()
