"""What `supervise` does for what the probes say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_daemon.keeper.ports import Seen
from edge_daemon.keeper.supervise import Kill, Restart, Settle, Start, Stop, Unit, Wait, Wanted, supervise

WEB = Unit("web", grace_s=5.0, stop_signal="SIGINT")


def running(service: str = "web", pid: int | None = 7) -> Seen:
    return Seen("shop", service, "r1", pid, 1.0, 100, None, None, oom_killed=False)


def wanted(**more: object) -> Wanted:
    return Wanted("r1", (WEB,))._replace(**more)


def test_one_that_fails_its_probe_is_asked_to_end_with_its_cause() -> None:
    assert supervise((running(),), wanted(failing={"web": "answered 503"}), 10.0) == [
        Restart("web", "SIGINT", 5.0, "answered 503")
    ]


def test_it_has_its_grace_and_is_then_ended_as_a_failure() -> None:
    asked = wanted(failing={"web": "answered 503"}, stopping={"web": 15.0})

    assert supervise((running(),), asked, 14.0) == [Wait("web", 15.0, "has been asked to stop: answered 503")]
    assert supervise((running(),), asked, 15.0) == [Settle("web")]
    assert supervise((running(pid=None),), asked, 14.0) == [Settle("web")]


def test_what_is_never_started_again_is_left_running() -> None:
    asked = wanted(units=(WEB._replace(policy="no"),), failing={"web": "answered 503"})

    assert supervise((running(),), asked, 10.0) == []


def test_it_waits_while_a_child_works_on_it() -> None:
    asked = wanted(failing={"web": "answered 503"}, busy=frozenset({"web"}))

    assert supervise((running(),), asked, 10.0) == [Wait("web", None, "is being worked on")]


@pytest.mark.parametrize(
    ("silent", "probed", "healthy", "starts"),
    [
        pytest.param({"web"}, set(), set(), False, id="has said nothing"),
        pytest.param(set(), {"web"}, set(), False, id="is not healthy"),
        pytest.param(set(), {"web"}, {"web"}, True, id="is healthy"),
        pytest.param(set(), set(), set(), True, id="has no probe"),
    ],
)
def test_what_needs_it_healthy_waits_for_its_probe(
    silent: set[str], probed: set[str], healthy: set[str], starts: bool
) -> None:
    asked = wanted(
        units=(WEB, Unit("shop", (("web", "healthy"),))),
        silent=frozenset(silent), probed=frozenset(probed), healthy=frozenset(healthy),
    )  # fmt: skip

    assert supervise((running(),), asked, 10.0) == (
        [Start("shop")] if starts else [Wait("shop", None, "waits until web is healthy")]
    )


names = st.sampled_from(["web", "db"])


@given(
    st.sets(names), st.sets(names), st.dictionaries(names, st.just("why")), st.dictionaries(names, st.floats(0, 20)),
    st.sampled_from(["always", "on-failure", "no"]),
)  # fmt: skip
def test_no_running_container_of_the_wanted_revision_is_ended_without_a_cause(
    probed: set[str], healthy: set[str], failing: dict[str, str], stopping: dict[str, float], policy: str
) -> None:
    asked = Wanted(
        "r1", (WEB._replace(policy=policy), Unit("db", policy=policy)),
        probed=frozenset(probed), healthy=frozenset(healthy), failing=failing, stopping=stopping,
    )  # fmt: skip

    for action in supervise((running(), running("db")), asked, 10.0):
        assert not isinstance(action, Stop | Kill | Start)
        if isinstance(action, Restart | Settle):
            assert action.service in failing
            assert policy != "no"
