"""How often one token may ask. The clock stands still unless a test moves it."""

from __future__ import annotations

from pathlib import Path

from app_support import NOW, an_app

from fleet_protocol.documents.api import Problem


def test_somebody_who_asks_too_often_is_told_to_wait_and_others_are_not(tmp_path: Path) -> None:
    with an_app(tmp_path) as app:
        token = app.token_for("hasty")
        assert {app.ask("GET", "/v1/whoami", token=token).status_code for _ in range(200)} == {200}
        refused = app.ask("GET", "/v1/whoami", token=token)
        said = Problem.parse(refused.content)
        assert (refused.status_code, said.code, said.retry, refused.headers["retry-after"]) == (429, "E0909", True, "5")
        assert app.ask("GET", "/v1/whoami").status_code == 200
        app.now += 0.03
        assert app.ask("GET", "/v1/whoami", token=token).status_code == 200
        assert app.ask("GET", "/v1/whoami", token=token).status_code == 429


def test_guessing_tokens_is_slow(tmp_path: Path) -> None:
    with an_app(tmp_path) as app:
        statuses = [app.ask("GET", "/v1/whoami", token=f"rso_{n}").status_code for n in range(102)]
        assert statuses == [401] * 100 + [429] * 2
        assert app.ask("GET", "/v1/whoami").status_code == 200


def test_a_token_ends_when_its_time_is_over(tmp_path: Path) -> None:
    with an_app(tmp_path) as app:
        token = app.token_for("short", ttl_s=60)
        app.now = NOW + 59.0
        assert app.ask("GET", "/v1/whoami", token=token).status_code == 200
        app.now = NOW + 60.0
        assert app.ask("GET", "/v1/whoami", token=token).status_code == 401
