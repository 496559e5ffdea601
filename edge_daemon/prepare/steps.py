"""Carrying a plan out: every step may be repeated, and finds what an earlier run has done."""

from __future__ import annotations

from typing import assert_never

from edge_daemon.prepare.errors import UnpackError
from edge_daemon.prepare.helper import Helper
from edge_daemon.prepare.plan import FetchLayer, Plan, UnpackLayer, room
from edge_daemon.prepare.report import FetchProgress, Report
from edge_daemon.prepare.store import ImageStore
from edge_daemon.prepare.unpack import unpack_layer


def carry_out(plan: Plan, helper: Helper, store: ImageStore, report: Report, uid_base: int) -> None:
    """All downloads are asked for at once: the worker fetches the next blob while this process unpacks the last."""
    progress = FetchProgress(report, len(plan.fetches), plan.fetch_bytes)
    already = {fetch.layer.blob.digest: fetch.layer.blob.size - fetch.bytes_missing for fetch in plan.fetches}
    helper.on_bytes = lambda digest, count: progress.within(max(0, count - already.get(digest, 0)))
    for fetch in plan.fetches:
        helper.send("layer", app=fetch.app, digest=fetch.layer.blob.digest, size=fetch.layer.blob.size)
    unpacked = 0
    for step in plan.steps:
        match step:
            case FetchLayer():
                helper.answer()
                progress.finished(step.bytes_missing)
            case UnpackLayer():
                unpacked += 1
                report.progress("unpacking", f"{unpacked} of {len(plan.fetches)} layers")
                _unpack(step, store, uid_base)
            case _:
                assert_never(step)


def _unpack(step: UnpackLayer, store: ImageStore, uid_base: int) -> None:
    blob = step.layer.blob
    try:
        unpack_layer(
            step.layer,
            store.partial_path(blob.hex),
            store,
            most_bytes=room(step.image, store.unpacked()),
            uid_base=uid_base,
        )
    except UnpackError:
        store.drop_partial(blob.hex)  # nothing that does not unpack is kept for another try
        raise
    store.drop_partial(blob.hex)
