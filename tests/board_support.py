"""Rows of the board: one as reports make it, and generated ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from server_support import NOW, a_device, a_fleet

from fleet_protocol.documents.device import KernelLimits, Reported, ReportedApp, ReportedService
from fleet_protocol.documents.stream import DeviceRow
from fleet_protocol.wire.where import parse_sort, parse_where
from fleet_server.board.order import Query
from fleet_server.board.row import Facts, Row, make_row
from fleet_server.store.records import Contact, Mark, ReportedRow


def a_row(name: str = "cam-1", before: Row | None = None, now: int = NOW, **over: Any) -> Row:
    labels = over.pop("labels", {"site": "lyon"})
    silent, fleets = over.pop("silent", 0), over.pop("fleets", [a_fleet("eu", select={"site": "lyon"})])
    service = ReportedService(
        name="gw", state="running", memory_bytes=over.pop("memory", 10), limits=KernelLimits(memory_bytes=100),
        cpu_usec=over.pop("cpu", 0), sampled_at=now, restarts=over.pop("restarts", 0), oom_kills=over.pop("oom", 0),
    )  # fmt: skip
    app = ReportedApp(app="gw", state=over.pop("app", "ok"), release=over.pop("release", "1.9.0"), services=(service,))
    said = Reported(device_id=name, boot_id="b", at=now, apps=(app,), **over)
    contact = Contact(name, now - silent, online=True, said=Mark())
    row = ReportedRow(name, now, said.to_bytes())
    return make_row(Facts(a_device(name, labels=labels), contact, row, Mark()), fleets, now, before)


def _a_generated_row(number: int, memory: int, site: str, restarts: int, state: Any) -> Row:
    name, labels = f"d{number:02}", {"site": site} if site else {}
    shown = DeviceRow(
        device_id=name, labels=labels, state=state, restarts=restarts, memory_bytes=None if memory < 0 else memory
    )
    return replace(
        a_row(), device_id=name, labels=labels, memory=memory, restarts=restarts, state=state,
        encoded=shown.model_dump_json(by_alias=True).encode(),
    )  # fmt: skip


ROWS = st.builds(
    _a_generated_row, st.integers(0, 20), st.sampled_from([-1, 5, 50, 500]),
    st.sampled_from(["", "lyon", "oslo", "7a"]), st.integers(0, 2), st.sampled_from(["ok", "failed", "quiet"]),
)  # fmt: skip
QUERIES = st.builds(
    lambda where, sort: Query(parse_where(where), parse_sort(sort)),
    st.sampled_from(["", "site=lyon", "memory>=50", "!d1", "site!=oslo restarts>0"]),
    st.sampled_from(["", "memory", "-memory", "site,-restarts", "-site", "state,-memory", "-name"]),
)
STEPS = st.lists(st.one_of(ROWS, st.integers(0, 20).map(lambda n: f"d{n:02}")), max_size=30)


def plainly(query: Query, rows: dict[str, Row]) -> list[str]:
    found = [row for row in rows.values() if query.holds(row, NOW)]
    return [row.device_id for row in sorted(found, key=lambda r: query.key(query.values(r, NOW)))]
