"""The real `fleet` command, run as a process by an operator with a home of their own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from server_process_support import ServerUnderTest

from fleet_cli.main import main
from fleet_release.images.build import build_layout

COMPOSE = "services:\n  web:\n    image: shop/web:1\n    mem_limit: 16m\n"
APP = (
    "apiVersion: roadstead/v1\nkind: App\nname: shop\nversion: {version}\ncompose: ./compose.yaml\n"
    "images: {{shop/web:1: ./image}}\n"
)
FLEET = "apiVersion: roadstead/v1\nkind: Fleet\nname: shops\nselect: {{site: lab}}\nrun: [shop@{version}]\n"


@dataclass
class Said:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str


class Operator:
    """A working folder, a configuration folder, and the command."""

    def __init__(self, folder: Path, server: ServerUnderTest) -> None:
        self.folder, self.server = folder / "work", server
        self.config = folder / "config"
        self.folder.mkdir(parents=True)
        self.environment = {
            **{k: v for k, v in os.environ.items() if k not in ("ROADSTEAD_CONFIG", "FORCE_COLOR", "NO_COLOR")},
            "XDG_CONFIG_HOME": str(self.config),
        }

    def fleet(self, *arguments: str, status: int = 0, stdin: str | None = None, **environment: str) -> Said:
        """Run it; no traceback is ever right, and the exit status is a part of the contract."""
        done = subprocess.run(
            [sys.executable, "-c", "from fleet_cli.main import main; main()", *arguments],
            cwd=self.folder, env={**self.environment, **environment}, timeout=60, check=False,
            capture_output=True, text=True, input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return Said(done.returncode, done.stdout, done.stderr)

    def here(self, *arguments: str, status: int = 0) -> Said:
        """The same within this process, which is ten times faster: for long tables of faults."""
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(out), contextlib.redirect_stderr(err),
            contextlib.chdir(self.folder), pytest.MonkeyPatch.context() as patch,
        ):  # fmt: skip
            patch.setenv("XDG_CONFIG_HOME", str(self.config))
            with pytest.raises(SystemExit) as ended:
                main(list(arguments))
        assert "Traceback" not in err.getvalue(), err.getvalue()
        assert ended.value.code == status, f"{arguments}: {ended.value.code}\n{out.getvalue()}{err.getvalue()}"
        return Said(status, out.getvalue(), err.getvalue())

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        """Of a list printed as JSON."""
        return list(json.loads(self.fleet(*arguments, "-o", "json").out)["items"])

    def join(self) -> None:
        """A context and a trust root with the app `shop`."""
        self.fleet("ctx", "add", "lab", *self.server_flags())
        self.fleet("trust", "init")
        self.fleet("trust", "delegate", "shop")

    def server_flags(self) -> list[str]:
        files = ["--ca-file", str(self.server.dir / "ca/ca.pem"), "--token-file", str(self.server.dir / "admin.token")]
        return ["--server", f"https://localhost:{self.server.port}", *files]

    def write_app(self, version: str, compose: str = COMPOSE) -> None:
        """app.yaml, compose.yaml, fleet.yaml and the image that they name."""
        if not (self.folder / "image").exists():
            program = ("/bin/busybox", Path("/bin/busybox"), 0o755)
            build_layout(self.folder / "image", {"amd64": [program]}, {})
        self.write("compose.yaml", compose)
        self.write("app.yaml", APP.format(version=version))
        self.write("fleet.yaml", FLEET.format(version=version))

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path
