"""`rollout` and `window` of fleet.yaml become a specification, or findings at their places."""
# ruff: noqa: E501  (one row of a table stands on one line)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from release_support import FLEET, WHOLE_FLEET, lint_files

from fleet_protocol.documents.rollout import (
    AbortSpec,
    Amount,
    ApprovalSpec,
    BudgetSpec,
    GateSpec,
    OfflineSpec,
    RateSpec,
    RetrySpec,
    RolloutSpec,
    WaveSpec,
    WindowSpec,
)
from fleet_release.findings import Finding

HEAD = f"{FLEET}select: all\nrun: [cam@1]\n"
REST = WaveSpec(name="rest", rest=True)


def compiled(text: str) -> RolloutSpec:
    report = lint_files({"fleet.yaml": text}, None, "fleet.yaml")
    assert report.errors == (), [e.render() for e in report.errors]
    return report.fleets[0].rollout


def refused(rest: str) -> tuple[Finding, ...]:
    return lint_files({"fleet.yaml": f"{HEAD}{rest}\n"}, None, "fleet.yaml").errors


def test_the_documented_example() -> None:
    window = WindowSpec(cron="0 22 * * *", for_s=6 * 3600)
    assert compiled(WHOLE_FLEET) == RolloutSpec(
        waves=(
            WaveSpec(name="canary", devices=5),
            WaveSpec(name="site:lab", select={"site": "lab"}),
            WaveSpec(name="to 50%", up_to=50.0),
            WaveSpec(name="to 90%", up_to=90.0),
            REST,
        ),
        soak_s=600,
        budgets=(BudgetSpec(per="site", max_unavailable=Amount(devices=1)),),
        aborts=(AbortSpec(share=2.0),),
        gates=(
            GateSpec(text="healthy >= 98%", value="healthy", compare=">=", limit=98.0),
            GateSpec(text="restartsPerHour < 0.1", value="restartsPerHour", compare="<", limit=0.1),
            GateSpec(text="gw http_p95_ms <= 45", app="gw", value="http_p95_ms", compare="<=", limit=45.0),
        ),
        install_window=window,
        download_window=window,
        canary_anytime=True,
        on_fail="revert",
    )


def test_a_fleet_that_says_nothing_rolls_out_in_one_wave_and_pauses_on_failure() -> None:
    assert compiled(HEAD) == RolloutSpec()
    assert compiled(HEAD).waves == (REST,)


@pytest.mark.parametrize(
    ("rest", "changes"),
    [
        pytest.param("rollout: {waves: [{devices: 2}]}", {"waves": (WaveSpec(name="wave 1", devices=2), REST)}, id="what no wave names comes last"),
        pytest.param("rollout: {waves: [{upTo: 100%}]}", {"waves": (WaveSpec(name="to 100%", up_to=100.0),)}, id="all named: no rest is added"),
        pytest.param("rollout: {waves: [{select: {site: lab}, share: 10%}, rest]}", {"waves": (WaveSpec(name="site:lab", select={"site": "lab"}, share=10.0), REST)}, id="a part of a selection"),
        pytest.param("rollout: {waves: [{name: go, rest: true, approvals: {need: 2, of: [b, a, a]}}]}", {"waves": (WaveSpec(name="go", rest=True, approval=ApprovalSpec(need=2, of=("a", "b"))),)}, id="two of named people"),
        pytest.param("rollout: {waves: [{name: go, rest: true, approvals: 1, soak: 1m, timeout: 2h}]}", {"waves": (WaveSpec(name="go", rest=True, approval=ApprovalSpec(need=1), soak_s=60, timeout_s=7200),)}, id="a wave with its own times"),
        pytest.param("rollout: {order: {label: tier}, maxParallel: 10%}", {"order_label": "tier", "max_parallel": Amount(share=10.0)}, id="an order and a share in parallel"),
        pytest.param("rollout: {rate: 50}", {"rate": RateSpec(per_minute=50)}, id="a rate"),
        pytest.param("rollout: {rate: {perMinute: 5, growth: 2, every: 10, max: 80}}", {"rate": RateSpec(per_minute=5, growth=2.0, every=10, maximum=80)}, id="a growing rate"),
        pytest.param("rollout: {abort: [{on: oom, share: 1%, sample: 20}, {on: [crash, probe], count: 3}]}", {"aborts": (AbortSpec(on=("oom",), share=1.0, sample=20), AbortSpec(on=("crash", "probe"), count=3))}, id="aborts by type"),
        pytest.param("rollout: {retry: {timeout: {times: 2, backoff: 5m, max: 1h}}}", {"retries": {"timeout": RetrySpec(times=2, backoff_s=300, maximum_s=3600)}}, id="retries by type"),
        pytest.param("rollout: {maxUnavailable: {per: site, devices: 1}, minAvailable: {per: site, share: 50%}}", {"budgets": (BudgetSpec(per="site", max_unavailable=Amount(devices=1), min_available=Amount(share=50.0)),)}, id="both halves of one budget"),
        pytest.param("rollout: {offline: wait}", {"offline": OfflineSpec(policy="wait")}, id="wait for those away"),
        pytest.param("rollout: {offline: {policy: defer, after: 1m, atMost: 20%, lost: defer}}", {"offline": OfflineSpec(after_s=60, at_most=20.0, lost="defer")}, id="those away, in full"),
        pytest.param("rollout: {require: [mains], veto: 1h, strategy: start-first}", {"preconditions": ("mains",), "veto_s": 3600, "strategy": "start-first"}, id="what a device must be"),
        pytest.param("rollout: {onFail: revert-wave, rollbackWindow: 1d, quarantine: false, success: 95%}", {"on_fail": "revert-wave", "rollback_window_s": 86400, "quarantine": False, "success": 95.0}, id="when it fails"),
        pytest.param("rollout: {gates: [{expression: 'memory <= 1.5x old', over: p95, count: 3, failAt: 3, trend: 10m}]}", {"gates": (GateSpec(text="memory <= 1.5x old", value="memory", over="p95", compare="<=", limit=1.5, times_old=True, fail_at=3.0, count=3, trend_s=600),)}, id="against the old release"),
        pytest.param("window: {cron: '0 1 * * 6', for: 1h, timezone: Europe/Paris, download: anytime}", {"install_window": WindowSpec(cron="0 1 * * 6", for_s=3600, zone="Europe/Paris")}, id="fetched at any time"),
        pytest.param("window: {cron: '0 1 * * *', for: 1h, fallback: Asia/Tokyo, download: {cron: '0 0 * * *', for: 2h}}", {"install_window": WindowSpec(cron="0 1 * * *", for_s=3600, fallback="Asia/Tokyo"), "download_window": WindowSpec(cron="0 0 * * *", for_s=7200, fallback="Asia/Tokyo")}, id="fetched in its own window"),
    ],
)  # fmt: skip
def test_what_is_written_is_what_is_carried_out(rest: str, changes: dict[str, object]) -> None:
    assert compiled(f"{HEAD}{rest}\n") == RolloutSpec().model_copy(update=changes)


@pytest.mark.parametrize(
    ("rest", "code", "place", "says"),
    [
        ("rollout: {waves: [{name: a}]}", "E0451", (6, 19), "a wave says exactly one"),
        ("rollout: {waves: [{share: 5%}]}", "E0451", (6, 19), "share is of a selection"),
        ("rollout: {waves: [{select: {a: b}, upTo: 5%}]}", "E0451", (6, 19), "not by upTo or rest"),
        ("rollout: {waves: [{name: a, devices: 1}, {name: a, devices: 1}]}", "E0451", (6, 42), "there is a wave a before"),
        ("rollout: {waves: [{devices: 1, approvals: {need: 2, of: [a]}}]}", "E0451", (6, 19), "2 approvals are needed"),
        ("rollout: {maxUnavailable: {per: site}}", "E0451", (6, 27), "one of devices and share"),
        ("rollout: {maxUnavailable: {devices: 0}}", "E0451", (6, 27), "no device could ever be updated"),
        ("rollout: {abort: [{on: oom}]}", "E0451", (6, 19), "one of share and count"),
        ("rollout: {abort: [{on: ooom, count: 1}]}", "E0414", (6, 24), "rollout.abort.0.on"),
        ("rollout: {rate: {perMinute: 9, max: 1}}", "E0451", (6, 37), "below the first one"),
        ("rollout: {gates: [restartPerHour < 1]}", "E0451", (6, 19), "is not measured by restartPerHour"),
        ("rollout: {gates: [healthy >= 98ms]}", "E0451", (6, 19), "is written with %, not with ms"),
        ("rollout: {gates: [restartsPerHour < 1%]}", "E0451", (6, 19), "has no unit, not with %"),
        ("rollout: {gates: [healthy >= 1x old]}", "E0451", (6, 19), "no counterpart on the old release"),
        ("rollout: {gates: [healthy >= 101%]}", "E0451", (6, 19), "at most 100 %"),
        ("rollout: {maxParallel: 10x}", "E0414", (6, 24), "10x"),
        ("rollout: {offline: never}", "E0414", (6, 20), "wants 'wait', 'defer', 'fail' or 'skip'"),
        ("rollout: {waves: [{devices: 1, soaks: 3m}]}", "E0412", (6, 32), 'unknown key "soaks"'),
        ("window: {cron: '0 0 30 2 *', for: 1h}", "E0454", (6, 16), "is no cron"),
        ("window: {cron: '0 99 * * *', for: 1h}", "E0454", (6, 16), "is no cron"),
        ("window: {cron: '0 1 * * *', for: 30s}", "E0454", (6, 34), "a minute at least"),
        ("window: {cron: '0 1 * * *', for: 1h, timezone: Europe/Pariss}", "E0454", (6, 48), "no time zone Europe/Pariss"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_out_is_found_at_its_place(
    rest: str, code: str, place: tuple[int, int], says: str
) -> None:
    errors = refused(rest)
    assert [e.code for e in errors] == [code], [e.render() for e in errors]
    assert (errors[0].line, errors[0].column) == place, errors[0].render()
    assert says in errors[0].message


def test_a_misspelt_gate_is_shown_with_its_line_a_caret_and_the_word_meant() -> None:
    (error,) = refused("rollout: {gates: [restartPerHour < 1]}")
    assert error.suggestion == "restartsPerHour"
    assert error.render().splitlines()[1:3] == [
        "    6 | rollout: {gates: [restartPerHour < 1]}",
        "      |                   ^",
    ]


@given(st.text(alphabet="healtyP rmoO<>=0123456789.%xold/", max_size=30))
def test_whatever_stands_as_a_gate_is_compiled_or_found_never_raised(text: str) -> None:
    quoted = text.replace("'", "''")
    report = lint_files({"fleet.yaml": f"{HEAD}rollout: {{gates: ['{quoted}']}}\n"}, None, "fleet.yaml")
    assert bool(report.errors) != bool(report.fleets)
