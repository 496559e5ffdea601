"""extends, include, several files laid over each other, and interpolation, with places that stay true."""

from __future__ import annotations

from release_support import APP, lint_files, said, service_of

MANY = APP + "compose: [a.yaml, b.yaml]\n"
BASE = """services:
  gw:
    image: registry.test/gw:1
    command: [a]
    environment: [A=1, B=1]
    ports: ["1:1"]
    depends_on: [db]
    volumes: ["d:/one", "d:/two"]
  db: {image: registry.test/db:1}
volumes: {d: , e: }
"""


def test_a_later_file_is_laid_over_an_earlier_one() -> None:
    over = """services:
  gw:
    command: [b]
    environment: {B: "2", C: "3"}
    ports: ["2:2"]
    volumes: ["e:/two:ro"]
"""
    fields = service_of(lint_files({"app.yaml": MANY, "a.yaml": BASE, "b.yaml": over}))
    assert fields["command"] == ["b"]
    assert fields["environment"] == {"A": "1", "B": "2", "C": "3"}
    assert [p["host_port"] for p in fields["ports"]] == [1, 2]
    assert fields["depends_on"] == {"db": "started"}
    assert [(v["name"], v["target"], v["read_only"]) for v in fields["volumes"]] == [
        ("d", "/one", False),
        ("e", "/two", True),
    ]


def test_reset_removes_and_override_replaces() -> None:
    over = "services:\n  gw:\n    ports: !override ['9:9']\n    environment: !reset null\n    depends_on: !reset []\n"
    fields = service_of(lint_files({"app.yaml": MANY, "a.yaml": BASE, "b.yaml": over}))
    assert [p["host_port"] for p in fields["ports"]] == [9]
    assert "environment" not in fields
    assert "depends_on" not in fields


def test_a_service_extends_another_of_the_same_or_another_file() -> None:
    compose = """services:
  gw: {extends: {file: common/base.yaml, service: web}, environment: {B: "2"}}
  two: {extends: gw, command: [x]}
"""
    base = """services:
  web: {extends: root, environment: {A: '1'}, env_file: web.env}
  root: {image: registry.test/r:1, mem_limit: 8m}
"""
    report = lint_files({"app.yaml": APP, "compose.yaml": compose, "common/base.yaml": base, "common/web.env": "E=5"})
    fields = service_of(report, "two")
    assert fields["environment"] == {"E": "5", "A": "1", "B": "2"}
    assert fields["command"] == ["x"]
    assert fields["limits"]["memory_bytes"] == 8 << 20


def test_extends_that_leads_nowhere_or_in_a_circle_is_named() -> None:
    compose = """services:
  a: {extends: b, image: registry.test/a:1}
  b: {extends: a, image: registry.test/b:1}
  c: {extends: dd, image: registry.test/c:1}
"""
    codes = said(lint_files({"app.yaml": APP, "compose.yaml": compose}))
    assert ("E0434", "compose.yaml has no service dd to extend") in codes
    assert any("extends itself" in message for _, message in codes)


def test_included_files_bring_their_services_and_may_not_define_one_twice() -> None:
    compose = "include: [sub/more.yaml]\nservices:\n  gw: {image: registry.test/gw:1, depends_on: [db]}\n"
    more = "services:\n  db: {image: registry.test/db:1, env_file: x.env}\n"
    files = {"app.yaml": APP, "compose.yaml": compose, "sub/more.yaml": more, "sub/x.env": "X=1"}
    assert service_of(lint_files(files), "db")["environment"] == {"X": "1"}
    clash = {**files, "sub/more.yaml": more + "  gw: {image: registry.test/other:1}\n"}
    assert said(lint_files(clash)) == [("E0434", "gw is defined here and in the included sub/more.yaml:3")]


def test_a_file_that_includes_itself_is_refused() -> None:
    compose = "include: [compose.yaml]\nservices:\n  gw: {image: registry.test/gw:1}\n"
    assert said(lint_files({"app.yaml": APP, "compose.yaml": compose})) == [("E0434", "compose.yaml includes itself")]


def test_variables_come_from_the_environment_over_the_env_file_and_are_named() -> None:
    compose = "services:\n  gw: {image: 'registry.test/gw:${TAG}', command: ['${WHAT:-serve}', $$HOME, '${OWN}']}\n"
    files = {"app.yaml": APP, "compose.yaml": compose, ".env": "TAG=1\nOWN=low\n"}
    report = lint_files(files, {"OWN": "high"})
    assert service_of(report)["command"] == ["serve", "$HOME", "high"]
    assert report.apps[0].draft is not None
    assert report.apps[0].draft.services[0].image == "registry.test/gw:1"
    notes = {f.message for f in report.findings if f.code == "N0403"}
    assert notes == {"TAG comes from .env", "OWN comes from the environment"}


def test_a_variable_that_is_not_set_is_an_error_at_its_place() -> None:
    compose = "services:\n  gw:\n    image: registry.test/gw:${TAG}\n"
    report = lint_files({"app.yaml": APP, "compose.yaml": compose})
    (error,) = report.errors
    assert (error.code, error.line, error.column) == ("E0431", 3, 12)
    assert error.message == "the variable TAG is not set"


def test_a_file_that_is_missing_is_named_where_it_is_asked_for() -> None:
    report = lint_files({"app.yaml": APP + "compose: other.yaml\n"})
    (error,) = report.errors
    assert (error.code, error.file, error.line) == ("E0433", "app.yaml", 5)
    assert error.message == "other.yaml cannot be read: no such file"


def test_anchors_and_extension_fields_are_followed() -> None:
    compose = "x-base: &base {image: registry.test/gw:1, mem_limit: 8m}\nservices:\n  gw: {<<: *base, cpus: 1}\n"
    limits = service_of(lint_files({"app.yaml": APP, "compose.yaml": compose}))["limits"]
    assert (limits["memory_bytes"], limits["cpu_millis"]) == (8 << 20, 1000)
