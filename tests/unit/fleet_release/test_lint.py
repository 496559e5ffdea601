"""Every error at once, each with file, line, column, caret and the word that was meant."""

# ruff: noqa: E501  (one row of a table stands on one line)

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from release_support import APP, FLEET, lint_files, lint_service, said

from edge_daemon.keeper import slope
from fleet_release.compile_health import (
    LEAST_GROWTH_BYTES,
    LEAST_GROWTH_PART,
    WARM_UP_PART,
    shortest_window_s,
)
from fleet_release.findings import FilesRefusedError, Findings, Mark

COMPOSE = "services:\n  gw:\n    image: registry.test/gw:1\n    mem_limt: 64m\n    privileged: true\n"


def test_every_error_of_every_file_is_reported_at_once_in_order() -> None:
    app = APP + "limts: {}\nprobes: {gv: {http: ':80/x'}}\n"
    report = lint_files({"app.yaml": APP, "compose.yaml": COMPOSE, "bad.yaml": app}, None, "app.yaml", "bad.yaml")
    assert [(e.code, e.file, e.line, e.column, e.suggestion) for e in report.errors] == [
        ("E0412", "bad.yaml", 5, 1, "limits"),
        ("E0412", "compose.yaml", 4, 5, "mem_limit"),
        ("E0421", "compose.yaml", 5, 5, ""),
    ]


def test_an_error_is_drawn_with_its_line_and_a_caret() -> None:
    report = lint_files({"app.yaml": APP, "compose.yaml": COMPOSE})
    assert report.errors[0].render() == (
        'error[E0412] compose.yaml:4:5 unknown key "mem_limt" (did you mean "mem_limit"?)\n'
        "    4 |     mem_limt: 64m\n"
        "      |     ^"
    )


def test_what_a_file_says_cannot_steer_a_terminal() -> None:
    report = lint_service('"bad\\e[31mkey": 1')
    drawn = report.errors[0].render()
    assert "\x1b" not in drawn


@pytest.mark.parametrize(
    ("app", "code", "place", "says", "meant"),
    [
        pytest.param("limits: {GW: {memory: 1Mi}}", "E0441", (5, 10), "GW is not a service", "gw", id="a limit of no service"),
        pytest.param("limits: {gw: {memry: 8Mi}}", "E0412", (5, 15), 'unknown key "memry" in limits.gw', "memory", id="a misspelt limit"),
        pytest.param("limits: {gw: {memory: lots}}", "E0414", (5, 23), "limits.gw.memory", "", id="a size that is none"),
        pytest.param("limits: {gw: {memory: 16Mi, pids: many}}", "E0413", (5, 35), "limits.gw.pids", "", id="a text for a number"),
        pytest.param("maximum: {gw: {memory: 8Mi}}", "E0414", (5, 11), "below the limit itself", "", id="a maximum below the limit"),
        pytest.param("probes: {gw: {http: 8080}}", "E0413", (5, 21), "probes.gw.http wants a text", "", id="a number for an address"),
        pytest.param("probes: {gw: {every: 10s}}", "E0414", (5, 10), "exactly one of http, tcp and exec", "", id="a probe of no kind"),
        pytest.param("hooks: {GW: {veto: {exec: [a]}}}", "E0441", (5, 9), "GW is not a service", "gw", id="a hook of no service"),
        pytest.param("hooks: {gw: {prestop: {exec: [a]}}}", "E0412", (5, 14), 'unknown key "prestop"', "preStop", id="a hook that is none"),
        pytest.param("hooks: {gw: {veto: {timeout: 5s}}}", "E0411", (5, 14), '"exec" is missing', "", id="a hook without a command"),
        pytest.param("hooks: {gw: {veto: {exec: [a], expires: 30d}}}", "E0414", (5, 9), "less than or equal to 604800", "", id="a veto without an end"),
        pytest.param("hooks: {gw: {preStop: {exec: [a], timeout: 10s}}}", "E0414", (5, 14), "leave time for the stop signal", "", id="a preStop that eats its grace"),
        pytest.param("strategy: start-frist", "E0414", (5, 11), "strategy wants", "start-first", id="a strategy that is none"),
        pytest.param("strategy: start-first\ntotal: {memory: 1Gi}", "E0414", (5, 11), "leave it out", "", id="start-first within a total"),
        pytest.param("strategy: start-first\ngrants: [{service: gw, network: host, reason: why}]", "E0414", (5, 11), "in the host's own network", "", id="start-first in the host's network"),
        pytest.param("arch: {mips: {gw: {image: x}}}", "E0414", (5, 8), '"mips" is not a platform', "", id="an unknown platform"),
        pytest.param("grants: [{service: gw, devices: [/dev/x]}]", "E0411", (5, 10), '"reason" is missing', "", id="a grant without a reason"),
        pytest.param("config: {LD_PRELOAD: {service: gw, to: env}}", "E0444", (5, 10), "LD_PRELOAD steers a loader", "", id="a loader's variable"),
        pytest.param("config: {A: {service: db, to: env}}", "E0443", (5, 23), "db is not a service", "", id="a key for no service"),
        pytest.param("config: {A: {service: gw, to: etc/x}}", "E0414", (5, 31), "config.A.to", "", id="a relative path"),
        pytest.param("config: {A: {service: gw, to: env, pattern: '('}}", "E0414", (5, 45), "the pattern cannot be used", "", id="a broken pattern"),
        pytest.param("config: {A: {service: gw, to: env, type: integer, default: x}}", "E0414", (5, 60), "an integer is declared", "", id="a default of another type"),
        pytest.param("config: {a-b: {service: gw, to: env}}", "E0443", (5, 10), "a-b cannot be the name of a variable", "", id="a variable's name that is none"),
        pytest.param("health: {memorySlope: 10%}", "E0414", (5, 23), "is not a slope such as 10%/h", "", id="a slope without a time"),
        pytest.param("images: {registry.test/gw:2: x.tar}", "E0441", (5, 10), "no service uses the image", "registry.test/gw:1", id="a file for no image"),
        pytest.param("kind: App", "E0402", (5, 1), 'the key "kind" stands here twice', "", id="a duplicate"),
        pytest.param("group: [a b]", "E0414", (5, 9), "cannot stand here", "", id="a group's name"),
    ],
)  # fmt: skip
def test_a_fault_of_app_yaml_is_shown_where_it_stands(
    app: str, code: str, place: tuple[int, int], says: str, meant: str
) -> None:
    report = lint_service("cap_drop: [ALL]", app + "\n")
    assert report.errors, "nothing was found"
    error = report.errors[0]
    assert (error.code, (error.line, error.column), error.suggestion) == (code, place, meant), error.render()
    assert says in error.message


@pytest.mark.parametrize(
    ("body", "app", "says"),
    [
        ('ports: ["53:53/udp"]', "", "publishes a UDP port"),
        ("volumes: [data:/data]", "", "name it in `sharedVolumes` if it bears two writers"),
        ("volumes: [data:/data:ro]", "", ""),
        ("volumes: [data:/data]", "sharedVolumes: [data]\n", ""),
        ('ports: ["8080:80"]', "", ""),
    ],
)
def test_what_cannot_run_twice_at_once_is_not_started_first(body: str, app: str, says: str) -> None:
    report = lint_service(body, f"strategy: start-first\n{app}", "volumes: {data: {}}\n" if "data" in body else "")
    assert [e.message for e in report.errors if says not in e.message] == []
    assert len(report.errors) == bool(says)
    assert all((e.file, e.line, e.column) == ("app.yaml", 5, 11) for e in report.errors)


@pytest.mark.parametrize(
    ("health", "memory", "needs"),
    [
        ("window: 60s, memorySlope: 10%/h", "64Mi", 240),
        ("window: 239s, memorySlope: 10%/h", "64Mi", 240),
        ("window: 240s, memorySlope: 10%/h", "64Mi", 0),
        ("memorySlope: 40%/h", "64Mi", 0),
        ("memorySlope: 39%/h", "64Mi", 62),
        ("window: 60s, memorySlope: 40%/h", "8Mi", 375),
        ("window: 60s", "64Mi", 0),
    ],
)
def test_a_window_too_short_for_its_slope_is_a_note(health: str, memory: str, needs: int) -> None:
    report = lint_service("cap_drop: [ALL]", f"health: {{{health}}}\nlimits: {{gw: {{memory: {memory}}}}}\n")
    assert report.errors == ()
    notes = [f for f in report.findings if f.code == "N0404"]
    assert len(notes) == bool(needs)
    assert all(note.message.endswith(f" of gw: that takes {needs} s") and note.line == 5 for note in notes)


def test_the_shortest_window_is_what_a_host_tells_growth_by() -> None:
    assert (LEAST_GROWTH_BYTES, LEAST_GROWTH_PART, WARM_UP_PART) == (
        slope.LEAST_GROWTH_BYTES, slope.LEAST_GROWTH_PART, slope.WARM_UP_PART
    )  # fmt: skip
    for limit in (8 << 20, 64 << 20, 1 << 30):
        window = shortest_window_s(10, limit) * 1.05
        per_s = limit * 0.10 / 3600
        samples = [slope.Sample(at, int(at * per_s)) for at in (n * window / 24 for n in range(25))]
        seen = slope.slope(samples, limit, since=window / slope.WARM_UP_PART)
        assert seen is not None
        assert seen.certain


def test_a_version_that_is_a_number_is_asked_for_in_quotes() -> None:
    report = lint_files({"app.yaml": APP.replace("1.9.0", "1.10"), "compose.yaml": "services: {}\n"})
    assert report.errors[0].message == "version wants a text"
    assert report.errors[0].hint == 'write it in quotes: "1.1"'


def test_missing_keys_and_a_wrong_kind_are_said() -> None:
    report = lint_files({"app.yaml": "apiVersion: roadstead/v1\nkind: App\n"})
    assert said(report) == [("E0411", '"name" is missing'), ("E0411", '"version" is missing')]
    report = lint_files({"app.yaml": "apiVersion: roadstead/v1\nkind: Ap\n"})
    assert [(e.code, e.suggestion) for e in report.errors] == [("E0414", "App")]


def test_a_compose_file_by_itself_is_linted_and_grants_are_left_to_app_yaml() -> None:
    text = "services:\n  gw: {image: registry.test/gw:1, cap_add: [NET_RAW], pid: host}\n"
    report = lint_files({"compose.yaml": text}, None, "compose.yaml")
    assert [(f.severity.value, f.code) for f in report.findings] == [("error", "E0421"), ("warning", "E0422")]


def test_a_fleet_is_held_against_the_app_that_lies_beside_it() -> None:
    app = APP + "config: {SITE: {service: gw, to: env, pattern: '[a-z]+'}, N: {service: gw, to: env, type: integer}}\n"
    compose = "services:\n  gw: {image: registry.test/gw:1}\n"
    fleet = FLEET + "select: {site: lab}\nrun: [cam@1.9.0]\nconfig: {cam: {SITE: '{label.site}', N: 1.5, SIET: x}}\n"
    files = {"app.yaml": app, "compose.yaml": compose, "fleet.yaml": fleet}
    report = lint_files(files, None, "app.yaml", "fleet.yaml")
    assert [(e.code, e.line, e.column, e.message, e.suggestion) for e in report.errors] == [
        ("E0453", 6, 38, "N is '1.5', an integer is declared", ""),
        ("E0453", 6, 46, "SIET is not a configuration key that cam 1.9.0 declares", "SITE"),
    ]


def test_both_documents_may_stand_in_one_file() -> None:
    both = f"{APP}---\n{FLEET}select: all\nrun: [cam@1.9.0]\n"
    report = lint_files({"app.yaml": both, "compose.yaml": "services:\n  gw: {image: registry.test/gw:1}\n"})
    assert report.errors == ()
    assert (len(report.apps), [f.select_all for f in report.fleets]) == (1, [True])


def test_findings_become_one_error_that_carries_them_all() -> None:
    findings = Findings()
    findings.add("E0412", Mark("a.yaml", 2, 3), "unknown key")
    findings.add("E0414", Mark("a.yaml", 4, 1), "bad value")
    with pytest.raises(FilesRefusedError) as caught:
        findings.refuse()
    assert str(caught.value) == "While reading the manifest, lint failed for a.yaml:2:3: unknown key, and 1 more"
    assert [f.code for f in caught.value.findings] == ["E0412", "E0414"]


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="abc:{}[]-#&*!|>'\"%@\n\t ,?x1", max_size=60))
def test_lint_never_raises_whatever_a_file_holds(text: str) -> None:
    for head in ("", APP, "services:\n gw: ", "apiVersion: roadstead/v1\nkind: Fleet\n"):
        lint_files({"app.yaml": head + text, "compose.yaml": text})
