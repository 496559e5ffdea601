"""The real server against its own OpenAPI description: whatever is sent, it answers as it says that it does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from server_process_support import ServerUnderTest, running_server

CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
    "response_headers_conformance", "negative_data_rejection", "unsupported_method", "missing_required_header",
    "ignored_auth",
)  # fmt: skip
# Not positive_data_acceptance: documents have rules that no JSON Schema can say (hashes, integers written as 1.0).


# The edges of everything that can stand in a fleet are thousands, and one token may ask fifty times a second: bodies
# with fleets are drawn at random.
LARGE = ("/v1/plan", "/v1/apply")
EDGES = ["--phases", "coverage", "--exclude-path", LARGE[0], "--exclude-path", LARGE[1]]
DRAWN = ["--phases", "fuzzing", "--max-examples", "60", "--include-path", LARGE[0], "--include-path", LARGE[1]]


@pytest.mark.parametrize("part", [EDGES, DRAWN], ids=["edges of every operation", "fleets drawn at random"])
def test_schemathesis_finds_nothing(tmp_path: Path, part: list[str]) -> None:
    with running_server() as server:
        server.make_trust("cam")
        server.enrol("st-1")
        done = call(server, tmp_path, part)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "Tested:" in done.stdout


def call(server: ServerUnderTest, folder: Path, part: list[str]) -> subprocess.CompletedProcess[str]:
    """Streams never end, so they are left out."""
    url = f"https://localhost:{server.port}"
    schema = server.api("GET", "/openapi.json")
    assert len(schema["paths"]) > 30
    (folder / "openapi.json").write_text(json.dumps(schema))
    return subprocess.run(
        [
            str(Path(sys.executable).parent / "st"), "run", str(folder / "openapi.json"), "--url", url,
            "-H", f"Authorization: Bearer {server.token}", "--tls-verify", str(server.dir / "ca/ca.pem"),
            "--checks", ",".join(CHECKS), *part, "--seed", "1",
            *(["--exclude-path", "/v1/stream"] if part is EDGES else []),
            "--rate-limit", "40/s", "--suppress-health-check", "all", "--no-color",
        ],
        cwd=folder, capture_output=True, text=True, check=False, timeout=110,
    )  # fmt: skip
