from __future__ import annotations

import pytest

from edge_daemon.prepare.admission import GIB, MIB, Capacity, admit, capacity, default_reserve, size
from edge_daemon.prepare.errors import AdmissionError
from edge_daemon.prepare.policy import Policy
from fleet_protocol.documents.release import Image, Release, Service, Total
from fleet_protocol.wire.errors import DocumentInvalidError, RoadsteadError

IMAGE = Image(manifest="sha256:" + "0" * 64, manifest_size=1, download_bytes=0, unpacked_bytes=0)
HOST = Capacity(2 * GIB, 200 * MIB, 4, 1000)


def release(app: str, *memory_mib: int, cpus: int = 500, pids: int = 16) -> Release:
    services = tuple(
        Service.model_validate(
            {
                "name": f"s{i}",
                "images": {"linux/amd64": IMAGE},
                "limits": {"memory_bytes": m * MIB, "cpu_millis": cpus, "pids": pids},
            }
        )
        for i, m in enumerate(memory_mib)
    )
    return Release(app=app, version="1.0.0", release_counter=1, services=services)


def refusal(has: Capacity, *releases: Release) -> RoadsteadError:
    with pytest.raises(AdmissionError) as caught:
        admit(releases, has)
    return caught.value


@pytest.mark.parametrize(
    ("has", "releases"),
    [
        pytest.param(HOST, [], id="nothing asked"),
        pytest.param(HOST, [release("shop", 900, 948)], id="exactly all that is given to apps"),
        pytest.param(HOST, [release("a", 8, cpus=4000), release("b", 8, cpus=4000)], id="cores may be promised twice"),
        pytest.param(HOST, [release("shop", 8, pids=500), release("cam", 8, pids=500)], id="exactly all processes"),
        pytest.param(HOST._replace(memory_bytes=None), [release("shop", 1 << 20)], id="memory that nobody could read"),
        pytest.param(HOST._replace(pids=None), [release("shop", 8, pids=65536)], id="process ids nobody could read"),
    ],
)
def test_what_fits_is_admitted(has: Capacity, releases: list[Release]) -> None:
    admit(releases, has)


def test_a_lack_of_memory_is_told_with_its_size_and_who_asks_for_it() -> None:
    error = refusal(Capacity(1914 * MIB, 174 * MIB, 4, None), release("shop", 450, 450), release("cam", 1024))
    assert error.reason == (
        "needs 184 MiB more memory than this host gives to apps (1.7 GiB): cam asks 1.0 GiB, shop 900 MiB"
    )
    assert "reserve_memory_bytes" in error.hint
    assert error.sentence().startswith("While planning, admission failed: needs 184 MiB more memory")


def test_an_app_counts_for_no_more_than_its_total() -> None:
    tight = Capacity(1 * GIB, 0, 4, 40)
    wanted = release("shop", 900, 900, pids=30)
    assert refusal(tight, wanted).reason.startswith("needs 776 MiB more memory")
    total = Total(memory_bytes=1 * GIB, pids=40)
    admit([wanted.model_copy(update={"total": total})], tight)
    more = wanted.model_copy(update={"total": Total(memory_bytes=4 * GIB)})  # more than all together asks for
    assert refusal(tight, more).reason.startswith("needs 776 MiB more memory")


def test_an_app_that_is_updated_start_first_counts_twice() -> None:
    tight, once = Capacity(1000 * MIB, 0, 4, 40), release("shop", 600, pids=30)
    admit([once], tight)
    twice = once.model_copy(update={"strategy": "start-first"})
    assert refusal(tight, twice).reason.startswith("needs 200 MiB more memory")
    assert refusal(Capacity(None, 0, 4, 40), twice).reason.startswith("needs 20 more processes")


def test_a_lack_of_one_byte_is_not_called_nothing() -> None:
    assert "needs 1 KiB more memory" in refusal(Capacity(100 * MIB - 1, 0, 1, None), release("a", 100)).reason


def test_a_lack_of_processes_is_told_likewise() -> None:
    error = refusal(HOST, release("shop", 8, pids=900), release("cam", 8, pids=300))
    assert error.reason == "needs 200 more processes than this host gives to apps (1000): shop asks 900, cam 300"


def test_a_service_may_not_be_promised_more_cores_than_there_are() -> None:
    error = refusal(HOST, release("shop", 8, cpus=4500))
    assert error.reason == "needs 0.5 more processor cores than this host has (4): shop/s0 asks 4.5"
    assert error.element == "shop.s0"


def test_many_apps_are_named_within_the_bounds_of_a_sentence() -> None:
    error = refusal(HOST, *(release(f"application-with-a-long-name-{i:02}", 200 + i) for i in range(40)))
    assert "application-with-a-long-name-39 asks 239 MiB" in error.reason
    assert error.reason.endswith("34 more 7.2 GiB")
    assert len(str(error.as_dict()["reason"])) == len(error.reason)


@pytest.mark.parametrize(
    ("memory", "group", "reserve", "expected"),
    [
        pytest.param(1000 * MIB, None, None, (1000 * MIB, 100 * MIB), id="a tenth stays with the host"),
        pytest.param(512 * MIB, None, None, (512 * MIB, 64 * MIB), id="at least 64 MiB"),
        pytest.param(1000 * MIB, None, 0, (1000 * MIB, 0), id="the policy's word is taken"),
        pytest.param(1000 * MIB, 300 * MIB, None, (300 * MIB, 0), id="a lower limit of the group is what there is"),
        pytest.param(1000 * MIB, 950 * MIB, None, (1000 * MIB, 100 * MIB), id="a group above the reserve's border"),
        pytest.param(None, 300 * MIB, None, (300 * MIB, 0), id="only the group's limit is known"),
        pytest.param(None, None, None, (None, 64 * MIB), id="nothing is known"),
    ],
)
def test_what_a_host_gives(memory: int | None, group: int | None, reserve: int | None, expected: object) -> None:
    has = capacity(memory_total=memory, group_memory=group, reserve=reserve, cpus=2, pid_max=None, group_pids=None)
    assert (has.memory_bytes, has.reserve_bytes) == expected


@pytest.mark.parametrize(
    ("pid_max", "group", "expected"),
    [(32768, None, 24576), (32768, 100, 100), (None, 100, 100), (None, None, None)],
)
def test_a_quarter_of_all_process_ids_stays_with_the_host(
    pid_max: int | None, group: int | None, expected: int | None
) -> None:
    has = capacity(memory_total=None, group_memory=None, reserve=None, cpus=2, pid_max=pid_max, group_pids=group)
    assert has.pids == expected


def test_sizes_for_people() -> None:
    assert [size(n) for n in (1, 1025, MIB, MIB + 1, 212 * MIB, 7 * GIB // 4)] == [
        "1 KiB", "2 KiB", "1 MiB", "2 MiB", "212 MiB", "1.8 GiB",
    ]  # fmt: skip
    assert default_reserve(0) == 64 * MIB


def test_the_policy_takes_a_reserve_and_no_negative_one() -> None:
    assert Policy.parse(b'{"reserve_memory_bytes": 1000}').reserve_memory_bytes == 1000
    with pytest.raises(DocumentInvalidError):
        Policy.parse(b'{"reserve_memory_bytes": -1}')
