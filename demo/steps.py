"""The story that `./dev demo` tells: each step is what an owner would type."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from demo import machine
from demo.machine import CGROUP, EDGES, HUB_ADDRESS, RUN, STATE, inside, run

BIN = Path(machine.PYTHON).parent
SERVER_DIR = STATE / "server"
WORK = STATE / "work"  # the engineer's own folder: compose file, keys, lock
CONFIG = STATE / "config"  # the engineer's and operator's XDG_CONFIG_HOME
PORTS = {"mqtt": 8883, "https": 8443}
SERVICES = {"web": (16 << 20, 250, 32), "visitor": (8 << 20, 250, 64)}  # memory, cpu in thousandths, processes


class Step(NamedTuple):
    """One line of the report."""

    title: str
    run: Callable[[], str]


def fleet(*arguments: str, cwd: Path | None = None, ok: tuple[int, ...] = (0,), stdin: str | None = None) -> str:
    """The `fleet` command as the demo's operator; its stdout. Raises RuntimeError with its words when it fails."""
    done = fleet_result(*arguments, cwd=cwd, stdin=stdin)
    if done.returncode not in ok:
        raise RuntimeError(f"fleet {' '.join(arguments)}: status {done.returncode}\n{done.stdout}{done.stderr}".strip())
    return done.stdout


def fleet_result(
    *arguments: str, cwd: Path | None = None, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """The same with exit status, stdout and stderr."""
    environment = {**os.environ, "XDG_CONFIG_HOME": str(CONFIG)}
    environment.pop("ROADSTEAD_CONFIG", None)
    where = cwd or (WORK if WORK.exists() else Path("/"))
    return subprocess.run(
        [str(BIN / "fleet"), *arguments],
        cwd=where, env=environment, input=stdin, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def wait_for(what: str, ready: Callable[[], Any], seconds: float = 30) -> Any:
    """The first true answer of `ready`. Raises TimeoutError that says what was waited for, and the last answer."""
    end = time.monotonic() + seconds
    answer: Any = None
    while time.monotonic() < end:
        answer = ready()
        if answer:
            return answer
        time.sleep(0.1)
    raise TimeoutError(f"waited {seconds:.0f} s for {what}")


def devices() -> dict[str, dict[str, Any]]:
    """`fleet get devices -o json`, by name."""
    items = json.loads(fleet("get", "devices", "-o", "json"))["items"]
    return {row["device_id"]: row for row in items}


# --- the steps


def hosts() -> str:
    """Network namespaces and directories."""
    for folder in (RUN, STATE, WORK, CONFIG):
        folder.mkdir(parents=True)
        folder.chmod(0o711)
    machine.make_networks()
    return ""


def server_init() -> str:
    """`fleet-server init`."""
    run(
        str(BIN / "fleet-server"), "init", "--dir", str(SERVER_DIR),
        "--name", HUB_ADDRESS, "--name", "127.0.0.1", "--name", "localhost",
        "--listen", f"{HUB_ADDRESS}:{PORTS['https']}", "--url", f"https://{HUB_ADDRESS}:{PORTS['https']}",
        "--broker", f"{HUB_ADDRESS}:{PORTS['mqtt']}",
    )  # fmt: skip
    return ""


def broker() -> str:
    """A private mosquitto, with the files that the server wrote for it."""
    start_broker()
    version = run("/usr/sbin/mosquitto", "-h", check=False).split("\n")[0]
    return f"{version}, mutual TLS, one access list for each device"


def start_broker() -> None:
    """Start mosquitto and wait until it accepts connections."""
    conf = str(SERVER_DIR / "broker" / "mosquitto.conf")
    machine.start("broker", inside("hub", "/usr/sbin/mosquitto", "-c", conf))
    wait_for("mosquitto to listen", lambda: _listens(PORTS["mqtt"]))


def server_run() -> str:
    """`fleet-server run`, for hosts in the hub's network and for operators on 127.0.0.1."""
    outside = socket.socket()
    outside.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    port_file = STATE / "operator-port"
    outside.bind(("127.0.0.1", int(port_file.read_text()) if port_file.exists() else 0))
    outside.listen(100)
    port = outside.getsockname()[1]
    port_file.write_text(str(port))
    fd = outside.fileno()
    command = [str(BIN / "fleet-server"), "run", "--dir", str(SERVER_DIR), "--listen-fd", str(fd)]
    machine.start("server", inside("hub", *command), pass_fds=(fd,))
    outside.close()
    wait_for("the server to answer", lambda: _listens(PORTS["https"]) and _healthy(port))
    return f"operators reach it at https://127.0.0.1:{port}"


def operator_context() -> str:
    """`fleet ctx add`."""
    port = (STATE / "operator-port").read_text()
    fleet(
        "ctx", "add", "demo", "--server", f"https://127.0.0.1:{port}",
        "--ca-file", str(SERVER_DIR / "ca" / "ca.pem"), "--token-file", str(SERVER_DIR / "admin.token"),
    )  # fmt: skip
    return ""


def trust_root() -> str:
    """`fleet trust init` and the delegation of the app: keys that the server never sees."""
    fleet("trust", "init")
    fleet("trust", "delegate", "shop")
    keys = sorted(p.name for p in (CONFIG / "roadstead" / "trust").rglob("*.key"))
    assert keys, "no keys were made"
    server_files = {p.name for p in SERVER_DIR.rglob("*.key")}
    assert "release-shop.key" not in server_files
    return f"the engineer holds {', '.join(keys)}; the server holds none of them"


def enrol() -> str:
    """Two hosts are let in by their token alone, the third by a person who compares words."""
    for edge in EDGES[:2]:
        label = f"site={'lyon' if edge == 'edge-1' else 'oslo'}"
        token = fleet("enroll", "token", "--label", label, "--label", "role=shop", "--auto-approve", "--name", edge)
        run(*inside(edge, *edge_command(edge, "enroll", "--token-file", str(_token_file(edge, token)))))
    edge = EDGES[2]
    token = fleet("enroll", "token", "--label", "site=kyoto", "--label", "role=shop")
    command = edge_command(edge, "enroll", "--token-file", str(_token_file(edge, token)), "--name", edge, "--wait")
    machine.start("enroll", inside(edge, *command))
    row = wait_for("the request to arrive", lambda: json.loads(fleet("enroll", "list", "-o", "json"))["items"])[0]
    on_host = wait_for("the host to show its words", lambda: row["words"] in machine.log_of("enroll"))
    assert on_host
    fleet("enroll", "approve", row["request_id"], "--yes")
    wait_for("the host to be let in", (STATE / edge / "identity" / "identity.json").exists)
    machine.stop("enroll")
    return f"edge-3 and the operator both see: {row['words']}"


def edge_command(edge: str, verb: str, *rest: str) -> list[str]:
    """`edge-daemon VERB` with this host's directories."""
    return [str(BIN / "edge-daemon"), verb, "--state-dir", str(STATE / edge), *rest]


def edges_run() -> str:
    """`edge-daemon run` on each host."""
    for edge in EDGES:
        start_edge(edge)
    wait_for("three hosts to connect", lambda: sum(d["online"] for d in devices().values()) == len(EDGES))
    return fleet("get", "devices").rstrip()


def start_edge(edge: str, *, prefix: tuple[str, ...] = ()) -> None:
    """Start one daemon inside its namespace; it refuses to connect from any other."""
    places = ("--run-dir", str(RUN / edge), "--cgroup-parent", f"/{CGROUP}/{edge}")
    command = edge_command(edge, "run", *places, "--expect-netns", str(machine.netns(edge)))
    machine.start(edge, inside(edge, *prefix, *command))


def author() -> str:
    """Two images from busybox, the compose file, `fleet init`, `fleet lint`."""
    from demo.images import build_images

    build_images(WORK)
    shutil.copy(Path(__file__).parent / "shop" / "compose.yaml", WORK / "compose.yaml")
    fleet("init", "compose.yaml", "--name", "shop", "--version", "1.0.0")
    declare_configuration()
    fleet("lint", "app.yaml", "fleet.yaml")
    return "compose.yaml -> app.yaml, fleet.yaml"


def declare_configuration() -> None:
    """What an engineer adds by hand: one value that a fleet may set, and whom the fleet selects."""
    app = WORK / "app.yaml"
    text = app.read_text()
    app.write_text(
        text
        + "config:\n  SITE: {service: web, type: string, pattern: '[a-z]{1,16}', to: env, default: unset}\n"
        + "health: {window: 5s}\n"
    )
    (WORK / "fleet.yaml").write_text(
        "# yaml-language-server: $schema=./.fleet/fleet.schema.json\n"
        "apiVersion: roadstead/v1\nkind: Fleet\nname: shops\nselect: {role: shop}\nrun: [shop@1.0.0]\n"
        'config: {shop: {SITE: "{label.site}"}}\n'
    )


def release() -> str:
    """`fleet release`: resolve, fill in limits, sign, upload."""
    return fleet("release", "-f", "app.yaml", *image_flags()).rstrip()


def image_flags() -> list[str]:
    """Where the two images lie; without the flags they would be pulled from a registry."""
    return ["--image", f"demo/web:1.0={WORK}/images/web", "--image", f"demo/visitor:1.0={WORK}/images/visitor"]


def plan() -> str:
    """`fleet plan`."""
    return fleet("plan").rstrip()


def apply() -> str:
    """`fleet apply --wait`."""
    fleet("apply", "--yes", "--wait", "--timeout", "60")
    return fleet("get", "devices", "-o", "wide").rstrip()


def limits() -> str:
    """Read every limit from the kernel's own files and compare it with what `fleet get devices -o json` says."""
    from demo.kernel import limits_of

    rows, said = devices(), []
    for edge in EDGES:
        for service, wanted in SERVICES.items():
            kernel = limits_of(f"{CGROUP}/{edge}/apps/shop/{service}")
            assert kernel[:1] + kernel[2:] == wanted, f"{edge} {service}: kernel has {kernel}, wanted {wanted}"
            assert kernel[1] == 0, f"{edge} {service}: swap is {kernel[1]}, wanted off"
            told = service_of(rows[edge], service)["limits"]
            reported = (told["memory_bytes"], told["swap_bytes"], told["cpu_millis"], told["pids"])
            assert reported == kernel, f"{edge} {service}: reported {reported}, kernel has {kernel}"
            if edge == EDGES[0]:
                memory, swap, cpu, pids = kernel
                said.append(f"{service:<8} memory {memory >> 20} Mi, swap {swap}, cpu {cpu / 1000:g}, processes {pids}")
    return "\n".join(said)


def service_of(row: dict[str, Any], service: str) -> dict[str, Any]:
    """One reported service of the app `shop`."""
    found = [s for a in row["reported"]["apps"] if a["app"] == "shop" for s in a["services"] if s["name"] == service]
    assert found, f"{row['device_id']} reports no {service}"
    return dict(found[0])


def visit() -> str:
    """The published port of each host, asked from the hub."""
    said = []
    for edge in EDGES:
        wait_for(f"{edge} to serve", lambda edge=edge: page(edge), 15)
        said.append(f"http://{machine.edge_address(edge)}:8080/ says: {page(edge)}")
    return "\n".join(said)


def page(edge: str) -> str:
    """What the host's web service answers; empty when it does not."""
    url = f"http://{machine.edge_address(edge)}:8080/"
    return run(*inside("hub", "timeout", "3", "/bin/busybox", "wget", "-q", "-O", "-", url), check=False).strip()


def what_next() -> str:
    """Said at the end, when everything is left running."""
    return f"""
Three hosts run the signed app `shop`. Try:

  export XDG_CONFIG_HOME={CONFIG} PATH={BIN}:$PATH; cd {WORK}
  fleet get devices -o wide          fleet describe device edge-1
  fleet get events                   edge-daemon ps --run-dir {RUN}/edge-1
  nsenter --net={machine.netns("hub")} -- busybox wget -q -O - http://{machine.edge_address("edge-1")}:8080/

Change app.yaml (version: 1.0.1) and fleet.yaml (run: [shop@1.0.1]), then
  fleet release -f app.yaml {" ".join(image_flags())}
  fleet plan && fleet apply --wait

Take everything down:  ./dev down"""


# --- small parts


def _token_file(edge: str, token: str) -> Path:
    path = STATE / f"{edge}.token"
    path.touch(mode=0o600)
    path.write_text(token)
    return path


def _listens(port: int) -> bool:
    wanted = f":{port:04X}"
    table = run(*inside("hub", "cat", "/proc/net/tcp"))
    return any(line.split()[1].endswith(wanted) and line.split()[3] == "0A" for line in table.splitlines()[1:])


def _healthy(port: int) -> bool:
    import ssl

    tls = ssl.create_default_context(cafile=str(SERVER_DIR / "ca" / "ca.pem"))
    try:
        with urllib.request.urlopen(f"https://127.0.0.1:{port}/healthz", context=tls, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def cgroup_mode() -> str:
    """`v2`, `hybrid` or `v1`, and the machine."""
    from demo.kernel import mode

    return f"cgroup {mode()}, {platform.machine()}, kernel {platform.release()}"


STORY = (
    Step("this machine", cgroup_mode),
    Step("three hosts, each with its own network namespace", hosts),
    Step("fleet-server init", server_init),
    Step("a private broker starts", broker),
    Step("fleet-server run", server_run),
    Step("fleet ctx add", operator_context),
    Step("fleet trust init, fleet trust delegate shop", trust_root),
    Step("edge-daemon enroll, on three hosts", enrol),
    Step("edge-daemon run, on three hosts", edges_run),
    Step("two images built, compose file imported: fleet init, fleet lint", author),
    Step("fleet release", release),
    Step("fleet plan", plan),
    Step("fleet apply --wait", apply),
    Step("limits read back from the kernel", limits),
    Step("the app answers on every host", visit),
)
