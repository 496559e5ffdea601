from __future__ import annotations

import pytest

from fleet_release.findings import Findings
from fleet_release.yaml_tree import Map, locate, parse, plain


def read(text: str) -> tuple[object, list[str]]:
    findings = Findings()
    trees = parse("a.yaml", text, findings)
    return (plain(trees[0]) if trees else None), [f.headline() for f in findings.all()]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("a: no", {"a": "no"}, id="no is a text, not false"),
        pytest.param("a: 1:30", {"a": "1:30"}, id="a time is a text, not sexagesimal"),
        pytest.param("a: 012", {"a": 12}, id="a leading zero is not octal"),
        pytest.param("a: 0o14", {"a": 12}, id="octal is written 0o"),
        pytest.param("a: 1e3", {"a": 1000.0}, id="an exponent makes a number"),
        pytest.param("a: [~, true, -7]", {"a": [None, True, -7]}, id="null, boolean and integer"),
        pytest.param("a: 2001-01-01", {"a": "2001-01-01"}, id="a date is a text"),
        pytest.param(
            "x: &x {m: 1, n: 2}\na: {<<: *x, n: 3}",
            {"x": {"m": 1, "n": 2}, "a": {"m": 1, "n": 3}},
            id="merge keys are followed, own keys win",
        ),
        pytest.param(
            "x: &x {m: 1}\ny: &y {m: 2, n: 2}\na: {<<: [*x, *y]}",
            {"x": {"m": 1}, "y": {"m": 2, "n": 2}, "a": {"m": 1, "n": 2}},
            id="of several merged mappings the first wins",
        ),
    ],
)
def test_yaml_is_read_as_version_1_2(text: str, value: object) -> None:
    assert read(text) == (value, [])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(
            "a: 1\nb: 2\na: 3\n",
            'error[E0402] a.yaml:3:1 the key "a" stands here twice, first in line 1',
            id="duplicate",
        ),
        pytest.param("a: !!python/object:os.system x", "error[E0404] a.yaml:1:4 the tag", id="a tag"),
        pytest.param(
            "a: 'x", "error[E0401] a.yaml:1:6 cannot be read as YAML: found unexpected end of stream", id="open quote"
        ),
        pytest.param("a:\n\t- b", "error[E0401] a.yaml:2:1 cannot be read as YAML", id="tab"),
        pytest.param("[" * 100 + "]" * 100, "error[E0403] a.yaml:1:66 nested deeper than 64 levels", id="depth"),
        pytest.param("[" * 5_000, "error[E0403] a.yaml:1:1 nested deeper than 64 levels", id="depth beyond the stack"),
        pytest.param("? [a]\n: b", "error[E0413] a.yaml:1:3 a key must be a plain text", id="a list as a key"),
        pytest.param("a: " + "x" * (1 << 20), "error[E0403] a.yaml:1:1 the file is larger than 1024 KiB", id="size"),
    ],
)
def test_what_cannot_be_accepted_is_said_with_its_place(text: str, says: str) -> None:
    assert says in read(text)[1][0]


def test_aliases_of_aliases_do_not_grow_without_end() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    value, said = read("\n".join(lines))
    assert value is None
    assert "more than 100000 values, aliases followed" in said[0]


def test_an_alias_that_contains_itself_is_refused() -> None:
    assert "E0403" in read("a: &a [*a]")[1][0]


def test_places_survive_anchors_and_point_to_keys_or_values() -> None:
    findings = Findings()
    tree = parse("a.yaml", "a:\n  b:\n    - x\n    - y: 1\n", findings)[0]
    assert isinstance(tree, Map)
    value = locate(tree, ("a", "b", 1, "y"))
    key = locate(tree, ("a", "b"), key=True)
    assert (value.line, value.column, key.line, key.column) == (4, 10, 2, 3)
