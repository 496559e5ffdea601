"""One parser, one reading."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trust_support import World, release_value

from fleet_protocol.documents.desired import DesiredState
from fleet_protocol.documents.release import ConfigKey, Release
from fleet_protocol.trust import dsse
from fleet_protocol.trust.configuration import value_fault
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.errors import DocumentInvalidError, RoadsteadError


def test_a_release_survives_being_written_and_read() -> None:
    release = Release.from_value(release_value())
    assert Release.parse(release.to_bytes()) == release


def test_an_unknown_field_is_named_with_its_path() -> None:
    with pytest.raises(DocumentInvalidError, match=r"\$\.services\.0\.privileged: Extra inputs are not permitted"):
        Release.from_value(release_value(service={"privileged": True}))


VALUES: dict[str, tuple[dict[str, Any], bytes, str | None]] = {
    "an integer": ({"type": "integer"}, b"-12", None),
    "not an integer": ({"type": "integer"}, b"1e9", "is not an integer within 2^53"),
    "too large an integer": ({"type": "integer"}, b"9999999999999999", "is not an integer within 2^53"),
    "digits of another script": ({"type": "integer"}, "\u0661".encode(), "is not an integer within 2^53"),
    "true": ({"type": "boolean"}, b"true", None),
    "True": ({"type": "boolean"}, b"True", "is neither true nor false"),
    "one line": ({"type": "string"}, "caf\u00e9".encode(), None),
    "two lines in a string": ({"type": "string"}, b"a\nb", "is declared as a string and holds control characters"),
    "two lines in a text": ({"type": "text"}, b"a\nb", None),
    "NUL": ({"type": "text"}, b"a\0b", "holds a NUL character"),
    "not UTF-8": ({"type": "text"}, b"\xff", "is not UTF-8 text"),
    "too long": ({"max_bytes": 3}, b"four", "has 4 bytes, at most 3 are declared"),
    "a pattern that matches": ({"pattern": "[a-z]+"}, b"abc", None),
    "a pattern that matches only a part": (
        {"pattern": "[a-z]+"},
        b"abc1",
        "does not match its declared pattern [a-z]+",
    ),
    "a pattern that is none": ({"pattern": "("}, b"x", "has a declared pattern that cannot be used: unclosed group"),
}


@pytest.mark.parametrize(("declared", "value", "fault"), VALUES.values(), ids=VALUES)
def test_values_are_held_to_their_declaration(declared: dict[str, Any], value: bytes, fault: str | None) -> None:
    assert value_fault(ConfigKey.from_value({"service": "web", "env": "X", **declared}), value) == fault


@pytest.mark.parametrize(
    "name",
    ["LD_PRELOAD", "ld_audit", "PYTHONPATH", "NODE_OPTIONS", "PATH", "http_proxy", "GIT_SSH_COMMAND", "BASH_ENV"],
)
def test_a_loaders_variable_can_never_be_declared(name: str) -> None:
    with pytest.raises(DocumentInvalidError, match="steers a loader or an interpreter"):
        ConfigKey.from_value({"service": "web", "env": name})


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused_in_words_or_read(data: bytes) -> None:
    for read in (DesiredState.parse, Release.parse):
        said = ""
        try:
            read(data)
        except RoadsteadError as error:
            said = error.sentence()
        assert said.isprintable()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_what_strict_json_reads_it_reads_as_json_does(value: object) -> None:
    data = json.dumps(value).encode()
    try:
        got = strict_json.loads(data, max_bytes=100_000)
    except DocumentInvalidError:
        return
    assert got == json.loads(data)


def test_base64_has_one_spelling(world: World) -> None:
    envelope = json.loads(dsse.sign(b"ab", "t", world.director))
    assert envelope["payload"] == "YWI="
    envelope["payload"] = "YWJ="  # decodes to the same two bytes
    assert base64.b64decode("YWJ=") == b"ab"
    with pytest.raises(DocumentInvalidError, match="not canonical base64"):
        dsse.verify(json.dumps(envelope).encode(), "t", (world.director.public,), max_bytes=9999)


@pytest.mark.parametrize(
    "envelope",
    [
        b"",
        b"[]",
        b"{}",
        b'{"payload":"","payloadType":"t","signatures":[]}',
        b'{"payload":"","payloadType":"t","signatures":[{}]}',
        b'{"payload":"","payloadType":"t","signatures":[{"sig":"","x":1}]}',
        b'{"payload":"","payloadType":"t","signatures":{},"extra":1}',
        b'{"payload":1,"payloadType":"t","signatures":[{"sig":""}]}',
        b'{"payload":"","payloadType":"t","signatures":[' + b",".join([b'{"sig":""}'] * 5) + b"]}",
    ],
)
def test_what_is_no_envelope_is_refused(world: World, envelope: bytes) -> None:
    with pytest.raises(DocumentInvalidError):
        dsse.verify(envelope, "t", (world.director.public,), max_bytes=9999)


def test_the_key_id_is_a_hint_that_neither_helps_nor_hinders(world: World) -> None:
    envelope = json.loads(dsse.sign(b"ab", "t", world.director))
    envelope["signatures"][0]["keyid"] = "somebody else"
    keys = (world.time_key.public, world.director.public)
    assert dsse.verify(json.dumps(envelope).encode(), "t", keys, max_bytes=9999) == b"ab"
    with pytest.raises(RoadsteadError, match="no trusted key"):
        dsse.verify(json.dumps(envelope).encode(), "t", (), max_bytes=9999)


def service(name: str, **over: Any) -> dict[str, Any]:
    base: dict[str, Any] = release_value()["services"][0]
    return {**base, "name": name, **over}


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a service twice": ({"services": [service("a"), service("a")]}, "a service is listed twice"),
    "a dependency on nothing": (
        {"services": [service("web", depends_on={"db": "started"})]},
        "web depends on db, which is not another service of this app",
    ),
    "a dependency on itself": (
        {"services": [service("web", depends_on={"web": "started"})]},
        "web depends on web, which is not another service of this app",
    ),
    "a circle": (
        {
            "services": [
                service("web", depends_on={"db": "started"}),
                service("db", depends_on={"web": "healthy"}),
            ]
        },
        "depends_on goes in a circle: web, db",
    ),
    "a key for no service": (
        {"config": {"X": {"service": "db", "env": "X"}}},
        "configuration key X goes to db, which is not a service of this app",
    ),
    "a key to two places": (
        {"config": {"X": {"service": "web", "env": "X", "file": "/x"}}},
        "a configuration key goes to exactly one of env and file",
    ),
    "a probe of two kinds": (
        {"services": [service("web", probe={"tcp_port": 1, "http_port": 2})]},
        "a probe has exactly one of http, tcp and exec",
    ),
    "a probe of no kind": (
        {"services": [service("web", probe={})]},
        "a probe has exactly one of http, tcp and exec",
    ),
}


@pytest.mark.parametrize(("over", "words"), FAULTS.values(), ids=FAULTS)
def test_a_release_does_not_hang_together_with(over: dict[str, Any], words: str) -> None:
    with pytest.raises(DocumentInvalidError) as caught:
        Release.from_value(release_value(**over))
    assert words in caught.value.reason


def test_services_start_after_what_they_depend_on() -> None:
    services = [
        service("web", depends_on={"api": "healthy"}),
        service("api", depends_on={"db": "started"}),
        service("db"),
        service("log"),
    ]
    assert Release.from_value(release_value(services=services)).start_order() == ("db", "log", "api", "web")


def test_control_characters_do_not_enter_a_text() -> None:
    with pytest.raises(DocumentInvalidError, match="control or format characters"):
        Release.from_value(release_value(service={"privileges": {"reason": "a\u202eb"}}))
