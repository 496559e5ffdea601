"""A service without a network can be asked by a command alone: said where it is written, and refused everywhere."""

from __future__ import annotations

import pytest
from release_support import lint_service, service_of

from fleet_protocol.documents.release import Release
from fleet_protocol.wire import strict_json
from fleet_protocol.wire.errors import DocumentInvalidError

ALONE = "network_mode: none\ncap_drop: [ALL]"


@pytest.mark.parametrize(
    ("app", "column", "over"),
    [
        pytest.param('probes: {gw: {http: ":80/"}}', 15, "http", id="a page"),
        pytest.param('probes: {gw: {tcp: ":80"}}', 15, "tcp", id="a port"),
        pytest.param('readiness: {gw: {every: 5s, http: ":80/ready"}}', 29, "http", id="readiness by a page"),
    ],
)
def test_asking_over_a_network_that_is_not_there_is_shown_with_its_place_and_what_to_use(
    app: str, column: int, over: str
) -> None:
    report = lint_service(ALONE, app + "\n")

    (error,) = report.errors
    assert (error.code, error.file, error.line, error.column, error.suggestion) == (
        "E0414", "app.yaml", 5, column, "exec",
    )  # fmt: skip
    assert error.message == f"gw has network_mode: none, so nothing can ask it over {over}"
    drawn = error.render().splitlines()
    assert drawn[1].endswith(app)
    assert drawn[2].index("^") == drawn[1].index(app) + column - 1


def test_a_command_may_ask_it_and_with_a_network_everything_may() -> None:
    app = "probes: {gw: {exec: [/alive]}}\nreadiness: {gw: {exec: [/ready], every: 5s, failures: 1}}\n"
    fields = service_of(lint_service(ALONE, app))
    assert fields["readiness"] == {"exec_args": ["/ready"], "every_s": 5, "failures": 1}
    assert (
        service_of(lint_service("cap_drop: [ALL]", 'readiness: {gw: {http: ":80/"}}\n'))["readiness"]["http_port"] == 80
    )


def test_readiness_of_no_service_is_a_misspelling() -> None:
    (error,) = lint_service("cap_drop: [ALL]", 'readiness: {GW: {http: ":80/"}}\n').errors
    assert (error.code, error.suggestion) == ("E0441", "gw")


@pytest.mark.parametrize("what", ["probe", "readiness"])
def test_a_signed_release_that_says_so_is_not_accepted(what: str) -> None:
    image = {"manifest": "sha256:" + "0" * 64, "manifest_size": 1, "download_bytes": 0, "unpacked_bytes": 0}
    service = {
        "name": "gw", "images": {"linux/amd64": image}, what: {"tcp_port": 80}, "privileges": {"network": "none"},
        "limits": {"memory_bytes": 1 << 24, "cpu_millis": 100, "pids": 8},
    }  # fmt: skip
    release = {"app": "cam", "version": "1.0", "release_counter": 1, "services": [service]}

    with pytest.raises(DocumentInvalidError, match=f"gw has no network over which its {what} could ask it: use exec"):
        Release.parse(strict_json.dumps(release))  # as a host reads what it has verified
    assert Release.from_value(release | {"services": [service | {what: {"exec_args": ["/alive"]}}]})
