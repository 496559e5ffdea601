"""`fleet audit` against the real server, and against one whose log somebody edits."""

from __future__ import annotations

import json
import sqlite3

import pytest
from cli_support import Operator
from server_process_support import ServerUnderTest

from fleet_protocol.wire.errors import Exit


def test_changes_and_refusals_stand_there_with_who_where_and_why(server: ServerUnderTest, operator: Operator) -> None:
    asked = {"name": "looker", "role": "viewer"}
    token = server.api("POST", "/v1/api-tokens", asked)["token"]
    reason = {"Roadstead-Reason": "it looks odd"}
    assert server.http("POST", "/v1/devices/edge-9/revoke", b"{}", reason, token=token)[0] == 403
    (row,) = operator.items("audit", "list", "-l", "who=looker")
    assert (row["action"], row["element"]) == ("refused", "POST /v1/devices/edge-9/revoke")
    assert (row["origin"], row["detail"]["code"]) == ("127.0.0.1", "E0903")
    body = json.dumps({"name": "other"}).encode()
    assert server.http("POST", "/v1/api-tokens", body, reason)[0] == 200
    (row,) = operator.items("audit", "list", "-l", 'action="create api token" name=other')
    assert (row["who"], row["origin"], row["why"]) == ("admin", "127.0.0.1", "it looks odd")
    assert "it looks odd" in operator.fleet("audit", "list", "--limit", "1").out
    operator.fleet("audit", "list", "-l", "who=", status=Exit.USAGE)


def test_an_export_is_the_whole_chain_and_verifies(operator: Operator) -> None:
    done = operator.fleet("audit", "export", "--verify")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert f"{len(rows)} rows, unbroken." in done.err
    assert operator.fleet("audit", "export", "--since", "1m").out.count("\n") <= len(rows)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ("UPDATE audit SET who = 'nobody' WHERE seq = 2", "row 2 was changed"),
        ("DELETE FROM audit WHERE seq = 2", "row 2 is missing"),
        ("DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)", "were cut off"),
    ],
    ids=["flipped", "deleted", "truncated"],
)
def test_what_was_done_to_the_log_is_found(server: ServerUnderTest, operator: Operator, edit: str, words: str) -> None:
    operator.fleet("audit", "export", "--verify")
    database = sqlite3.connect(server.dir / "server.db", timeout=10)
    saved = database.execute("SELECT * FROM audit").fetchall()
    try:
        database.execute(edit)
        database.commit()
        said = operator.fleet("audit", "export", "--verify", status=Exit.TRUST)
        assert words in said.err
    finally:
        database.execute("DELETE FROM audit")
        database.executemany(f"INSERT INTO audit VALUES ({','.join('?' * len(saved[0]))})", saved)  # noqa: S608
        database.commit()
        database.close()
    operator.fleet("audit", "export", "--verify")
