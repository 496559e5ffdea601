"""A window's messages, for any course of changes: a screen that follows them shows what the server has."""

from __future__ import annotations

import json
from typing import Any

from board_support import ROWS, plainly
from hypothesis import given
from hypothesis import strategies as st
from server_support import NOW

from fleet_protocol.documents.stream import WindowRequest, WindowRows
from fleet_server.board.board import Board
from fleet_server.board.order import Query
from fleet_server.board.row import Row
from fleet_server.board.window import View

WINDOWS = st.builds(
    WindowRequest,
    where=st.sampled_from(["", "site=lyon", "memory>=50"]),
    sort=st.sampled_from(["", "-memory", "site"]),
    offset=st.integers(0, 3),
    count=st.integers(0, 6),
    marked=st.sampled_from([(), ("d01", "d02")]),
)
STEPS = st.lists(
    st.one_of(ROWS, st.integers(0, 20).map(lambda n: f"d{n:02}"), WINDOWS, st.sampled_from(["tell", "slow", "again"])),
    max_size=40,
)


class Eyes:
    """What the screen has understood."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}
        self.order: list[str] = []

    def read(self, data: bytes | None) -> None:
        if data is None:
            return
        told = WindowRows.parse(data)
        if told.full:
            self.rows, self.order = {}, []
        self.order = list(told.order) if told.order is not None else self.order
        self.rows.update({row.device_id: json.loads(row.model_dump_json()) for row in (*told.rows, *told.marked)})
        # What is neither shown nor marked may be forgotten at once.
        keep = {*self.order, *("d01", "d02")}
        self.rows = {name: row for name, row in self.rows.items() if name in keep}


def put(board: Board, name: str, row: Row | None) -> None:
    board._take([name], {} if row is None else {name: row}, NOW)


@given(STEPS)
def test_a_screen_that_follows_shows_what_there_is(steps: list[Any]) -> None:
    board, scope = Board(None, lambda: NOW), {}  # type: ignore[arg-type]
    view, eyes, asked = View(board, scope), Eyes(), WindowRequest()
    for step in [*steps, "tell"]:
        match step:
            case Row():
                put(board, step.device_id, step)
                continue
            case WindowRequest():
                asked = step
                view.ask(asked)
            case "slow":
                view.forget()
            case "again":
                mark, view = view.mark(), View(board, scope)
                view.ask(asked)
                if not view.resume(mark, NOW):
                    eyes = Eyes()
            case "tell":
                pass
            case _:
                put(board, step, None)
                continue
        eyes.read(view.tell(NOW))
        whole = plainly(Query(view._query.where, view._query.sort), board.rows)
        assert eyes.order == whole[asked.offset : asked.offset + asked.count]
        for name in eyes.order:
            assert eyes.rows[name] == json.loads(board.rows[name].encoded)
        for name in asked.marked:
            if name in board.rows:
                assert eyes.rows[name] == json.loads(board.rows[name].encoded)
    assert view.tell(NOW) is None
