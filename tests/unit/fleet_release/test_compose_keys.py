"""Every key of the compose specification is looked at; none is passed over in silence."""

from __future__ import annotations

import pytest
from release_support import lint_service, said

from fleet_release.compose import keys
from fleet_release.compose.keys import Fate, Key

TABLES: dict[str, dict[str, Key]] = {
    name: table for name, table in vars(keys).items() if name.isupper() and isinstance(table, dict)
}
# As of 2026; a key that our table lacks would be called unknown.
SPECIFIED = """
annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs container_name
cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset credential_spec
depends_on deploy develop device_cgroup_rules devices dns dns_opt dns_search domainname entrypoint env_file
environment expose extends external_links extra_hosts gpus group_add healthcheck hostname image init ipc
isolation label_file labels links logging mac_address mem_limit mem_reservation mem_swappiness memswap_limit
models network_mode networks oom_kill_disable oom_score_adj pid pids_limit platform ports post_start pre_stop
privileged profiles provider pull_policy pull_refresh_after read_only restart runtime scale secrets
security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt sysctls tmpfs tty ulimits
use_api_socket user userns_mode uts volumes volumes_from working_dir
"""


def test_the_table_of_services_is_the_specification() -> None:
    assert sorted(keys.SERVICE) == sorted(SPECIFIED.split())


@pytest.mark.parametrize("table", TABLES)
def test_whatever_is_not_honoured_says_why(table: str) -> None:
    silent = [n for n, key in TABLES[table].items() if key.fate is not Fate.HONOURED and not key.why]
    assert silent == []


REFUSED = sorted(n for n, key in keys.SERVICE.items() if key.fate is Fate.REFUSED and n != "build")
NOTED = sorted(n for n, key in keys.SERVICE.items() if key.fate is Fate.NOTED)


@pytest.mark.parametrize("key", REFUSED)
def test_a_refused_key_is_an_error_with_a_reason(key: str) -> None:
    report = lint_service(f"{key}: something")
    assert (("E0421", f"{key} cannot be honoured: {keys.SERVICE[key].why}")) in said(report)


@pytest.mark.parametrize("key", NOTED)
def test_a_key_without_effect_is_printed(key: str) -> None:
    report = lint_service(f"{key}: {{}}")
    wanted = f"{key} has no effect here: {keys.SERVICE[key].why}"
    assert wanted in [f.message for f in report.findings if f.code == "N0402"]


def test_own_additions_stand_under_x() -> None:
    report = lint_service("x-mine: {anything: [1]}", rest="x-top: 1\n")
    assert report.findings == ()


@pytest.mark.parametrize(
    ("rest", "says"),
    [
        ("networks: {default: {internal: true}}\n", "internal in networks.default cannot be honoured"),
        ("networks: {default: {external: true}}\n", "external in networks.default cannot be honoured"),
        ("volumes: {d: {driver: nfs}}\n", "driver in volumes.d cannot be honoured"),
        ("volumes: {d: {external: true}}\n", "external in volumes.d cannot be honoured"),
        ("configs: {c: {external: true}}\n", "external in configs.c cannot be honoured"),
        ("models: {m: {}}\n", "models cannot be honoured"),
        ("network: {}\n", 'unknown key "network"'),
    ],
)
def test_top_level_keys_are_judged_as_well(rest: str, says: str) -> None:
    found = said(lint_service("working_dir: /", rest=rest))
    assert len(found) == 1
    assert says in found[0][1]
