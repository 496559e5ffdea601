"""`fleet token` and `whoami` against the real server."""

from __future__ import annotations

from cli_support import Operator
from server_process_support import ServerUnderTest

from fleet_protocol.wire.errors import Exit


def test_a_token_goes_into_a_file_and_is_what_its_role_and_scope_say(
    server: ServerUnderTest, operator: Operator
) -> None:
    for name, site in (("tok-lyon", "lyon"), ("tok-oslo", "oslo")):
        server.enrol(name, labels={"site": site})
    made = operator.fleet(
        "token", "create", "lee", "--role", "operator", "--scope", "site=lyon", "--ttl", "90d",
        "--token-file", "lee.token",
    )  # fmt: skip
    path = operator.folder / "lee.token"
    token = path.read_text().strip()
    assert path.stat().st_mode & 0o777 == 0o600
    assert token not in made.out + made.err
    ca = str(server.dir / "ca/ca.pem")
    url = f"https://localhost:{server.port}"
    operator.fleet("ctx", "add", "lee", "--server", url, "--ca-file", ca, "--token-file", "lee.token")
    assert operator.items("whoami")[0]["scope"] == {"site": "lyon"}
    assert [row["device_id"] for row in operator.items("get", "devices")] == ["tok-lyon"]
    operator.fleet("device", "decommission", "tok-oslo", "--yes", status=Exit.NOT_FOUND)
    said = operator.fleet("token", "list", status=Exit.NOT_ALLOWED)
    assert "it takes the role admin" in said.err
    operator.fleet("ctx", "use", "lab")
    assert "lee" in operator.fleet("token", "list", "-o", "name").out.split()
    assert token not in operator.fleet("token", "list", "-o", "yaml").out
    operator.fleet("token", "revoke", "lee", "--yes")
    assert "lee" not in operator.fleet("token", "list", "-o", "name").out.split()
    operator.fleet("--context", "lee", "whoami", status=Exit.NOT_ALLOWED)


def test_nothing_is_made_where_the_file_is_there_already_or_cannot_be_written(operator: Operator) -> None:
    (operator.folder / "taken").write_text("mine")
    operator.fleet("token", "create", "kim", "--token-file", "taken", status=Exit.OTHER)
    operator.fleet("token", "create", "kim", "--token-file", "no/such/folder", status=Exit.OTHER)
    operator.fleet("token", "create", "../kim", "--token-file", "new", status=Exit.USAGE)
    assert (operator.folder / "taken").read_text() == "mine"
    assert not (operator.folder / "new").exists()
    assert "kim" not in operator.fleet("token", "list", "--all", "-o", "name").out.split()
