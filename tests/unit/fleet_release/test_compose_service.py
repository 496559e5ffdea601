"""Each honoured or translated key of a compose service, by what stands in the release."""

# ruff: noqa: E501  (one row of a table stands on one line)

from __future__ import annotations

from typing import Any

import pytest
from release_support import lint_service, said, service_of

HEALTH = {"every_s": 30, "timeout_s": 30, "start_period_s": 0, "failures": 3}


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        pytest.param('command: serve --port "80 80"', "command", ["serve", "--port", "80 80"], id="a command is split, not run by a shell"),
        pytest.param("command: [a, b c]", "command", ["a", "b c"], id="a command as a list"),
        pytest.param("entrypoint: [/init]", "command", [], id="an entrypoint clears the image's command"),
        pytest.param("environment: {A: 1.10, B: true, C: no}", "environment", {"A": "1.10", "B": "true", "C": "no"}, id="environment as written"),
        pytest.param("environment: [A=1, B=x=y]", "environment", {"A": "1", "B": "x=y"}, id="environment as a list"),
        pytest.param("user: 1000:1000", "user", "1000:1000", id="a numeric user"),
        pytest.param("user: 1000", "user", "1000", id="a numeric user without quotes"),
        pytest.param("restart: unless-stopped", "restart", {"policy": "always"}, id="unless-stopped is always"),
        pytest.param("restart: on-failure:5", "restart", {"policy": "on-failure", "max_attempts": 5}, id="on-failure with a count"),
        pytest.param('restart: "no"', "restart", {"policy": "no"}, id="restart no"),
        pytest.param("restart: no", "restart", {"policy": "no"}, id="restart no without quotes is a text in YAML 1.2"),
        pytest.param("stop_grace_period: 1m30s", "stop_grace_s", 90, id="grace period"),
        pytest.param("stop_signal: INT", "stop_signal", "SIGINT", id="a signal without SIG"),
        pytest.param("post_start: [{command: /up --now}]", "hooks", {"post_start": {"exec_args": ["/up", "--now"], "timeout_s": 5}}, id="post_start"),
        pytest.param("pre_stop: [{command: [/down]}]\nstop_grace_period: 4s", "hooks", {"pre_stop": {"exec_args": ["/down"], "timeout_s": 3}}, id="pre_stop within its grace"),
        pytest.param("init: true", "init", True, id="init"),
        pytest.param("shm_size: 16m", "shm_bytes", 16 << 20, id="shm_size"),
        pytest.param("container_name: front", "aliases", ["front"], id="container_name is an alias"),
        pytest.param("networks: {default: {aliases: [a, b]}}", "aliases", ["a", "b"], id="aliases"),
        pytest.param("tmpfs: /run:size=1m", "tmpfs", [{"target": "/run", "size_bytes": 1 << 20}], id="tmpfs with a size"),
        pytest.param("tmpfs: [/run]", "tmpfs", [{"target": "/run", "size_bytes": 16 << 20}], id="tmpfs without a size gets one"),
        pytest.param("healthcheck: {test: wget -q localhost}", "probe", {"exec_args": ["/bin/sh", "-c", "wget -q localhost"], **HEALTH}, id="healthcheck as a text"),
        pytest.param(
            "healthcheck: {test: [CMD, /check, -x], interval: 1m, timeout: 500ms, retries: 2, start_period: 5s}",
            "probe",
            {"exec_args": ["/check", "-x"], "every_s": 60, "timeout_s": 1, "start_period_s": 5, "failures": 2},
            id="healthcheck as a list, rounded up",
        ),
        pytest.param(
            'ports: ["8080:80", "127.0.0.1:53:53/udp", "[::1]:90:91"]',
            "ports",
            [
                {"host_ip": "", "host_port": 8080, "container_port": 80, "protocol": "tcp"},
                {"host_ip": "127.0.0.1", "host_port": 53, "container_port": 53, "protocol": "udp"},
                {"host_ip": "::1", "host_port": 90, "container_port": 91, "protocol": "tcp"},
            ],
            id="short ports",
        ),
        pytest.param(
            'ports: ["3000-3001:4000-4001"]',
            "ports",
            [
                {"host_ip": "", "host_port": 3000, "container_port": 4000, "protocol": "tcp"},
                {"host_ip": "", "host_port": 3001, "container_port": 4001, "protocol": "tcp"},
            ],
            id="a range of ports",
        ),
        pytest.param(
            "ports: [{target: 80, published: 8080, protocol: udp, mode: host}]",
            "ports",
            [{"host_ip": "", "host_port": 8080, "container_port": 80, "protocol": "udp"}],
            id="a long port",
        ),
        pytest.param("links: []", "depends_on", None, id="empty lists are nothing"),
    ],
)  # fmt: skip
def test_a_compose_key_becomes_a_field_of_the_release(body: str, field: str, value: Any) -> None:
    assert service_of(lint_service(body)).get(field) == value


@pytest.mark.parametrize(
    ("body", "value"),
    [
        pytest.param("mem_limit: 32m", {"memory_bytes": 32 << 20}, id="mem_limit"),
        pytest.param("cpus: 0.5", {"cpu_millis": 500}, id="cpus"),
        pytest.param("cpu_quota: 50000", {"cpu_millis": 500}, id="quota of the usual period"),
        pytest.param("cpu_shares: 512", {"cpu_weight": 50}, id="half the usual shares"),
        pytest.param("pids_limit: 10", {"pids": 10}, id="pids_limit"),
        pytest.param("cpuset: 0-1", {"cpuset": "0-1"}, id="cpuset"),
        pytest.param(
            "blkio_config: {device_write_bps: [{path: /dev/sda, rate: 12mb}], device_read_iops: [{rate: 100}]}",
            {"io_write_bps": 12 << 20, "io_read_iops": 100},
            id="rates of the disk",
        ),
        pytest.param("ulimits: {nofile: 2048}", {"nofile": 2048}, id="nofile"),
        pytest.param("ulimits: {nofile: {soft: 100, hard: 200}}", {"nofile": 200}, id="nofile, soft and hard"),
        pytest.param(
            "deploy: {resources: {limits: {memory: 20M, cpus: '0.1', pids: 5}}}",
            {"memory_bytes": 20 << 20, "cpu_millis": 100, "pids": 5},
            id="deploy.resources.limits",
        ),
        pytest.param("mem_limit: 8m\nmemswap_limit: 8m", {"memory_bytes": 8 << 20}, id="no swap beyond memory"),
    ],
)
def test_limits_are_taken_from_where_compose_keeps_them(body: str, value: dict[str, Any]) -> None:
    small = {"memory_bytes": 64 << 20, "cpu_millis": 250, "pids": 64}
    assert service_of(lint_service(body))["limits"] == {**small, **value}


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        pytest.param("privileged: true", "E0421", "privileged cannot be honoured", id="privileged"),
        pytest.param("pid: host", "E0421", "pid cannot be honoured", id="the host's processes"),
        pytest.param("ipc: host", "E0421", "ipc cannot be honoured", id="the host's IPC"),
        pytest.param("network_mode: service:db", "E0421", "network_mode: service:db cannot be honoured", id="another's network"),
        pytest.param("network_mode: host", "E0422", "gw wants the host's network, which no grant names", id="the host's network"),
        pytest.param("cap_add: [NET_ADMIN]", "E0422", "gw wants the capability CAP_NET_ADMIN, which no grant names", id="a capability"),
        pytest.param("cap_add: [ALL]", "E0421", "cap_add: ALL cannot be honoured", id="all capabilities"),
        pytest.param("devices: [/dev/ttyUSB0]", "E0422", "gw wants the device /dev/ttyUSB0, which no grant names", id="a device"),
        pytest.param('devices: ["/dev/a:/dev/b"]', "E0421", "cannot be mapped like this", id="a device by another name"),
        pytest.param("read_only: false", "E0422", "gw wants a writable root file system", id="a writable root"),
        pytest.param("user: www-data", "E0421", "user: www-data cannot be honoured", id="a user by name"),
        pytest.param("volumes: [./data:/data]", "E0423", "the host's path ./data cannot be mounted", id="a bind mount"),
        pytest.param("volumes: [/var/run/docker.sock:/s]", "E0423", "would give the container the whole host", id="docker.sock"),
        pytest.param("volumes: [{type: bind, source: /etc, target: /e}]", "E0423", "the host's path /etc", id="a long bind mount"),
        pytest.param("volumes: [/data]", "E0421", "an anonymous volume cannot be honoured", id="an anonymous volume"),
        pytest.param("volumes: [data:/data]", "E0441", "the volume data is not defined", id="an undefined volume"),
        pytest.param('ports: ["80"]', "E0421", "a random host port cannot be honoured", id="a random port"),
        pytest.param('ports: ["1-3:1-2"]', "E0414", "ranges of different lengths", id="unequal ranges"),
        pytest.param('ports: ["x:y"]', "E0414", "'x:y' is not a port", id="no port at all"),
        pytest.param('ports: ["70000:80"]', "E0414", "70000 is not within 1 to 65535", id="a port beyond the last"),
        pytest.param("networks: [backend]", "E0441", "the network backend is not defined", id="an undefined network"),
        pytest.param("depends_on: [db]", "E0441", "gw depends on db, which is not another service", id="an unknown dependency"),
        pytest.param("restart: sometimes", "E0414", "not 'sometimes'", id="an unknown restart policy"),
        pytest.param("memswap_limit: 1g", "E0421", "containers never swap", id="swap"),
        pytest.param("pids_limit: -1", "E0414", "pids_limit means no limit", id="no limit"),
        pytest.param("mem_limit: lots", "E0414", 'mem_limit: "lots" is not a size', id="not a size"),
        pytest.param("mem_limit: 1m", "E0414", "services.gw.limits.memory_bytes", id="less than can be enforced"),
        pytest.param("deploy: {replicas: 2}", "E0421", "deploy.replicas cannot be honoured", id="replicas"),
        pytest.param("security_opt: [seccomp=unconfined]", "E0421", "security_opt: seccomp=unconfined cannot be honoured", id="no seccomp"),
        pytest.param(
            "blkio_config: {weight: 300}", "E0421", "weight in blkio_config cannot be honoured", id="weight of a disk"
        ),
        pytest.param(
            "blkio_config: {device_read_iops: [{rate: 1}, {rate: 2}]}",
            "E0414",
            "blkio_config.device_read_iops: one rate, for an edge host's apps lie on one disk",
            id="two disks",
        ),
        pytest.param(
            "blkio_config: {device_read_bps: [{path: /dev/sda}]}",
            "E0411",
            "blkio_config.device_read_bps needs its rate",
            id="no rate",
        ),
        pytest.param("ulimits: {memlock: -1}", "E0421", "memlock in ulimits cannot be honoured", id="another limit"),
        pytest.param("healthcheck: {test: [RUN, x]}", "E0414", "healthcheck.test is a text, or a list", id="a health check of no kind"),
        pytest.param("tty: true", "E0421", "tty cannot be honoured", id="a terminal"),
        pytest.param("profiles: [debug]", "E0421", "profiles cannot be honoured", id="profiles"),
        pytest.param("mem_limt: 64m", "E0412", 'unknown key "mem_limt"', id="a misspelt key"),
        pytest.param("configs: [nobody]", "E0441", "nobody is not defined under the top-level configs", id="an undefined config"),
        pytest.param("hostname: UPPER.example", "E0414", "services.gw.hostname", id="a host name that is none"),
        pytest.param("command: 'a \"b'", "E0414", "command cannot be split into arguments", id="an open quote"),
        pytest.param("environment: {A: [1]}", "E0413", "environment A wants a text, not a list", id="a list as a value"),
        pytest.param("environment: [A]", "E0431", "A has no value here", id="a variable without a value"),
        pytest.param("image: {}", "E0402", "stands here twice", id="a duplicate key"),
    ],
)  # fmt: skip
def test_what_an_edge_host_cannot_do_is_refused_with_its_reason(body: str, code: str, says: str) -> None:
    found = said(lint_service(body))
    assert [c for c, _ in found] == [code], found
    assert says in found[0][1]


@pytest.mark.parametrize(
    "body", ["privileged: false", "tty: false", "oom_kill_disable: false", "userns_mode: ''", "cgroup: private"]
)
def test_a_refused_key_passes_when_it_asks_for_what_is_true_anyway(body: str) -> None:
    assert said(lint_service(body)) == []


def test_a_grant_gives_what_the_compose_file_asks_for() -> None:
    app = "grants: [{service: gw, devices: [/dev/ttyUSB0], capabilities: [NET_RAW], network: host, reason: modbus}]\n"
    report = lint_service("devices: [/dev/ttyUSB0]\ncap_add: [NET_RAW]\nnetwork_mode: host", app)
    assert service_of(report)["privileges"] == {
        "capabilities": ["CAP_NET_RAW"],
        "devices": ["/dev/ttyUSB0"],
        "network": "host",
        "writable_root": False,
        "reason": "modbus",
    }


def test_a_named_volume_keeps_its_name_or_says_what_it_becomes() -> None:
    report = lint_service("volumes: [db_data:/data:ro]", rest="volumes: {db_data: }\n")
    mount = {"name": "db-data", "target": "/data", "read_only": True, "quota_bytes": 64 << 20}
    assert service_of(report)["volumes"] == [mount]
    draft = report.apps[0].draft
    assert draft is not None
    assert "+ services.gw.volume db-data  64Mi   (default quota)" in [str(added) for added in draft.added]
    assert "the volume db_data is kept as db-data" in [f.message for f in report.findings]


def test_a_volumes_quota_stands_in_app_yaml_and_a_volume_of_no_service_is_a_fault() -> None:
    body, rest = "volumes: [data:/data]", "volumes: {data: }\n"
    report = lint_service(body, app="volumes: {data: {quota: 1Gi}}\n", rest=rest)
    assert service_of(report)["volumes"][0]["quota_bytes"] == 1 << 30
    report = lint_service(body, app="volumes: {dta: {quota: 1Gi}}\n", rest=rest)
    assert ("E0441", "dta is not a volume of the compose file") in said(report)
    report = lint_service(body, app="volumes: {data: {quota: 1Ki}}\n", rest=rest)
    assert [code for code, _ in said(report)] == ["E0414"]


def test_configs_become_declared_keys_and_secrets_are_never_read() -> None:
    rest = "configs: {conf: {file: ./gw.toml}}\nsecrets: {pw: {file: ./pw.txt}}\n"
    body = "configs: [{source: conf, target: /etc/gw.toml}]\nsecrets: [pw]"
    report = lint_service(body, rest=rest, files={"gw.toml": "a = 1\n", "pw.txt": "CANARY"})
    service_of(report)
    draft = report.apps[0].draft
    assert draft is not None
    assert draft.config == {
        "conf": {"service": "gw", "type": "text", "file": "/etc/gw.toml", "max_bytes": 16384, "default": "a = 1\n"},
        "pw": {"service": "gw", "type": "text", "file": "/run/secrets/pw", "max_bytes": 4096, "secret": True},
    }


def test_env_files_lie_below_environment_and_values_come_from_the_operators_machine() -> None:
    report = lint_service(
        "env_file: [one.env, {path: two.env, required: false}]\nenvironment: {B: own, HOME_TOWN: }",
        environment={"HOME_TOWN": "lyon"},
        files={"one.env": "A=1\nB=file\n"},
    )
    assert service_of(report)["environment"] == {"A": "1", "B": "own", "HOME_TOWN": "lyon"}


def test_links_give_the_other_service_a_name_and_an_order() -> None:
    rest = "  db: {image: registry.test/db:1}\n"
    report = lint_service("links: [db:database]", rest=rest)
    assert service_of(report)["depends_on"] == {"db": "started"}
    assert service_of(report, "db")["aliases"] == ["database"]


def test_a_service_that_others_wait_for_to_complete_is_not_started_for_ever() -> None:
    rest = "  job: {image: registry.test/job:1}\n"
    report = lint_service("depends_on: {job: {condition: service_completed_successfully}}", rest=rest)
    assert service_of(report, "job")["restart"] == {"policy": "on-failure"}
    assert service_of(report)["depends_on"] == {"job": "completed"}


def test_a_circle_of_dependencies_is_named() -> None:
    rest = "  db: {image: registry.test/db:1, depends_on: [gw]}\n"
    assert said(lint_service("depends_on: [db]", rest=rest)) == [("E0442", "depends_on goes in a circle: db, gw")]


def test_nothing_but_a_build_is_no_image() -> None:
    from release_support import APP, lint_files

    report = lint_files({"app.yaml": APP, "compose.yaml": "services:\n  gw:\n    build: .\n"})
    assert said(report) == [
        ("E0424", "build cannot be honoured: a release builds nothing: push the image, or save it to a file named in app.yaml under `images`")
    ]  # fmt: skip


def test_a_build_beside_an_image_has_no_effect_and_says_so() -> None:
    report = lint_service("build: {context: .}")
    assert said(report) == []
    assert [f.code for f in report.findings] == ["N0402"]
