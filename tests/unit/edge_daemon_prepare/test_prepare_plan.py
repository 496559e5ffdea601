from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_daemon.prepare.errors import PlanError
from edge_daemon.prepare.manifest import Blob, Layer
from edge_daemon.prepare.plan import (
    RESERVE_BYTES,
    FetchLayer,
    PlannedImage,
    UnpackLayer,
    check_room,
    megabytes,
    plan,
    room,
)


def layer(number: int, size: int = 100) -> Layer:
    return Layer(Blob(f"sha256:{number:064x}", size), "gzip", f"{number + 1000:064x}")


def image(*numbers: int, unpacked: int = 1000, app: str = "cam") -> PlannedImage:
    return PlannedImage(app, f"sha256:{sum(numbers):064x}", tuple(layer(n) for n in numbers), unpacked)


A = image(1, 2)


@pytest.mark.parametrize(
    ("unpacked", "partial", "fetch", "disk", "steps"),
    [
        pytest.param({}, {}, 200, 1200, [1, 1, 2, 2], id="nothing is here: each layer is fetched and then unpacked"),
        pytest.param({layer(1).diff_id: 300}, {}, 100, 800, [2, 2], id="a layer that is here costs nothing"),
        pytest.param(
            {}, {layer(1).blob.hex: 60}, 140, 1140, [1, 1, 2, 2], id="what was downloaded is not counted again"
        ),
        pytest.param(
            {}, {layer(1).blob.hex: 900}, 100, 1100, [1, 1, 2, 2], id="a download that is too long counts as whole"
        ),
        pytest.param({layer(n).diff_id: 1 for n in (1, 2)}, {}, 0, 0, [], id="all is here: nothing is to be done"),
    ],
)
def test_a_plan_names_what_is_missing_and_what_it_costs(
    unpacked: dict[str, int], partial: dict[str, int], fetch: int, disk: int, steps: list[int]
) -> None:
    made = plan((A,), unpacked, partial)
    assert (made.fetch_bytes, made.disk_bytes) == (fetch, disk)
    assert [int(s.layer.blob.hex, 16) for s in made.steps] == steps
    assert [type(s) for s in made.steps] == [FetchLayer, UnpackLayer] * (len(steps) // 2)


def test_a_layer_that_two_images_share_is_fetched_once() -> None:
    made = plan((image(1, 2), image(1, 3)), {}, {})
    assert [int(f.layer.blob.hex, 16) for f in made.fetches] == [1, 2, 3]


def test_a_layer_that_an_image_lists_twice_is_fetched_once() -> None:
    assert len(plan((image(1, 1),), {}, {}).fetches) == 1


def test_layers_larger_than_their_image_was_signed_for_are_refused() -> None:
    with pytest.raises(PlanError, match="its layers hold 1001 bytes, the release signed 1000"):
        room(A, {layer(1).diff_id: 1001})


@given(st.lists(st.lists(st.integers(1, 8), min_size=1, max_size=5), max_size=5))
def test_a_plan_carried_out_leaves_nothing_to_do(images: list[list[int]]) -> None:
    wanted = tuple(image(*numbers, unpacked=10_000) for numbers in images)
    unpacked: dict[str, int] = {}
    for step in plan(wanted, unpacked, {}).steps:
        if isinstance(step, UnpackLayer):
            assert step.layer.diff_id not in unpacked
            unpacked[step.layer.diff_id] = 10
    assert plan(wanted, unpacked, {}).steps == ()
    assert {x.diff_id for i in wanted for x in i.layers} == set(unpacked)


def test_a_plan_without_room_is_refused_with_both_numbers() -> None:
    with pytest.raises(PlanError) as caught:
        check_room(212_000_000, 140_000_000 + RESERVE_BYTES)
    assert caught.value.reason == "212 MB needed, 140 MB free after clean-up"


def test_a_plan_beyond_the_quota_is_refused_with_all_three_numbers() -> None:
    with pytest.raises(PlanError, match="30 MB needed beside 80 MB that must stay, the quota for images is 100 MB"):
        check_room(30_000_000, 1 << 40, quota=100_000_000, pinned=80_000_000)
    check_room(20_000_000, 1 << 40, quota=100_000_000, pinned=80_000_000)


@pytest.mark.parametrize(("count", "said"), [(0, 0), (1, 1), (1_000_000, 1), (1_000_001, 2)])
def test_megabytes_are_rounded_up(count: int, said: int) -> None:
    assert megabytes(count) == said


def test_volumes_that_are_still_to_be_made_count_as_room_that_is_needed() -> None:
    check_room(10_000_000, 30_000_000 + RESERVE_BYTES, volumes=20_000_000)
    with pytest.raises(PlanError, match=r"31 MB needed \(21 MB of it for volumes\), 30 MB free"):
        check_room(10_000_000, 30_000_000 + RESERVE_BYTES, volumes=21_000_000)
