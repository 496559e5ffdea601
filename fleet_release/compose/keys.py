"""Every key of the compose specification, with what becomes of it here. A key that is not in these tables is an error.

Four classes: honoured as it is; translated into what does the same; noted (accepted, without effect, and printed);
refused with a reason. `harmless` values of a refused key say what is true here anyway, and pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Fate(Enum):
    """What becomes of a key."""

    HONOURED = "honoured"
    TRANSLATED = "translated"
    NOTED = "noted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Key:
    """One key."""

    fate: Fate
    why: str = ""
    harmless: tuple[str, ...] = ()


def _yes(*names: str) -> dict[str, Key]:
    return {name: Key(Fate.HONOURED) for name in names}


def _into(why: str, *names: str) -> dict[str, Key]:
    return {name: Key(Fate.TRANSLATED, why) for name in names}


def _noted(why: str, *names: str) -> dict[str, Key]:
    return {name: Key(Fate.NOTED, why) for name in names}


def _no(why: str, *names: str, harmless: tuple[str, ...] = ()) -> dict[str, Key]:
    return {name: Key(Fate.REFUSED, why, harmless) for name in names}


TOP: dict[str, Key] = {
    **_yes("services", "networks", "volumes", "configs", "secrets", "include"),
    **_noted("the app's name stands in app.yaml", "name"),
    **_noted("compose files have no version any more", "version"),
    **_no("language models are not provided on edge hosts; run one as a service", "models"),
}

SERVICE: dict[str, Key] = {
    **_yes(
        "image", "command", "entrypoint", "environment", "user", "working_dir", "hostname", "depends_on", "restart",
        "ports", "tmpfs", "shm_size", "mem_limit", "cpus", "cpuset", "pids_limit", "read_only", "cap_add", "cap_drop",
        "healthcheck", "stop_signal", "stop_grace_period", "init", "deploy", "volumes", "devices", "extends",
    ),
    **_into("into environment variables of the signed release", "env_file"),
    **_into("into a name in the app's network", "container_name", "links"),
    **_into("into the app's own network", "networks"),
    **_into("into the service's network: app, host or none", "network_mode"),
    **_into("into a hook that may take 5 s; give it more in app.yaml under `hooks`", "post_start", "pre_stop"),
    **_into("into declared configuration files", "configs", "secrets"),
    **_into("into a weight, 1024 shares being the usual 100", "cpu_shares"),
    **_into("into a number of cores", "cpu_quota", "cpu_period"),
    **_into("into the limit of open files", "ulimits"),
    **_into("into rates of the disk that holds the host's apps", "blkio_config"),
    **_yes("memswap_limit", "mem_swappiness", "security_opt", "scale"),
    **_noted("services of one app reach each other on every port", "expose"),
    **_noted("labels of containers are not carried; label devices instead", "labels", "label_file", "annotations"),
    **_noted("every container has a bounded log on its host; see logPerContainer in fleet.yaml", "logging"),
    **_noted("each container can always use its whole limit", "mem_reservation"),
    **_noted("images are pinned by digest and fetched once", "pull_policy", "pull_refresh_after"),
    **_noted("it concerns development only", "develop", "attach"),
    **_no("a release builds nothing: push the image, or save it to a file named in app.yaml under `images`", "build"),
    **_no("permissions are granted one by one, in app.yaml under `grants`", "privileged",
          harmless=("false",)),
    **_no("every service has a process namespace of its own", "pid", harmless=("",)),
    **_no("every service has an IPC namespace of its own", "ipc", harmless=("private", "none", "")),
    **_no("every service has a UTS namespace of its own", "uts", harmless=("",)),
    **_no("every container runs in a user namespace", "userns_mode", harmless=("",)),
    **_no("every container has a cgroup of its own", "cgroup", harmless=("private",)),
    **_no("the host's own group of its app is used", "cgroup_parent"),
    **_no("devices are named one by one: `devices`, with a grant", "device_cgroup_rules", "gpus"),
    **_no("names come from a generated hosts file; other names cannot be added", "extra_hosts", "external_links"),
    **_no("name servers are the host's own matter", "dns", "dns_opt", "dns_search", "domainname"),
    **_no("addresses are given out by the host", "mac_address"),
    **_no("kernel parameters are not settable from a release", "sysctls"),
    **_no("the process has the groups of its numeric user only; give the group in `user`", "group_add"),
    **_no("the kernel's choice under memory pressure is the daemon's matter", "oom_kill_disable", "oom_score_adj",
          harmless=("false", "0")),
    **_no("use `cpus`, or `cpuset` for chosen cores", "cpu_count", "cpu_percent"),
    **_no("real-time scheduling is not given to containers", "cpu_rt_period", "cpu_rt_runtime", harmless=("0",)),
    **_no("the runtime is the host's choice", "runtime", "isolation"),
    **_no("it is for Windows containers", "credential_spec"),
    **_no("the layers' store of an edge host has no options; limit data by volume", "storage_opt"),
    **_no("name the volume at both services", "volumes_from"),
    **_no("containers have no terminal", "tty", "stdin_open", harmless=("false",)),
    **_no("name `platforms` in app.yaml; an image may differ by platform under `arch`", "platform"),
    **_no("an app runs all its services: keep optional ones in another compose file", "profiles"),
    **_no("the machine's container engine is not reachable from a container", "use_api_socket", harmless=("false",)),
    **_no("only containers are services here", "provider"),
    **_no("language models are not provided on edge hosts; run one as a service", "models"),
}  # fmt: skip

BUILD: dict[str, Key] = _yes(
    "context", "dockerfile", "dockerfile_inline", "entitlements", "args", "ssh", "labels", "cache_from", "cache_to",
    "no_cache", "additional_contexts", "network", "pull", "target", "shm_size", "extra_hosts", "isolation",
    "privileged", "secrets", "tags", "ulimits", "platforms", "provenance", "sbom",
)  # fmt: skip

HEALTHCHECK: dict[str, Key] = {
    **_yes("test", "disable", "interval", "timeout", "retries", "start_period"),
    **_noted("the interval is the same from the start", "start_interval"),
}

HOOK: dict[str, Key] = {
    **_yes("command"),
    **_no("a hook runs as the service's own user, without capabilities", "user"),
    **_no("a hook runs as the service's own user, without capabilities", "privileged", harmless=("false",)),
    **_no("a hook runs in the service's own directory, with its variables", "working_dir", "environment"),
}

DEPENDENCY: dict[str, Key] = {
    **_yes("condition"),
    **_no("every service of an app is there", "required", harmless=("true",)),
    **_noted("a restart of one service leaves the others running", "restart"),
}

DEPLOY: dict[str, Key] = {
    **_yes("resources", "replicas", "restart_policy"),
    **_into("into `rollout` of fleet.yaml, by `fleet init`", "update_config"),
    **_noted("a failed revision goes back to the last good one as a whole", "rollback_config"),
    **_noted("each selected device runs the service once", "mode"),
    **_noted("labels of services are not carried", "labels"),
    **_no("choose devices by labels in fleet.yaml: `select`", "placement"),
    **_no("a service has one address in its app's network", "endpoint_mode"),
}
RESOURCES: dict[str, Key] = _yes("limits", "reservations")
RESOURCE_LIMITS: dict[str, Key] = _yes("cpus", "memory", "pids")
RESERVATIONS: dict[str, Key] = {
    **_noted("each container can always use its whole limit", "cpus", "memory"),
    **_no("devices are named one by one: `devices`, with a grant", "devices", "generic_resources"),
}
UPDATE_CONFIG: dict[str, Key] = {
    **_yes("parallelism", "delay", "failure_action", "monitor", "max_failure_ratio"),
    **_noted("say `strategy: start-first` in app.yaml for an app whose two revisions can run side by side", "order"),
}
RESTART_POLICY: dict[str, Key] = {
    **_yes("condition", "max_attempts"),
    **_noted("restarts wait longer each time, up to a bound", "delay", "window"),
}

PORT: dict[str, Key] = {
    **_yes("target", "published", "host_ip", "protocol"),
    **_noted("it is for people", "name", "app_protocol"),
    **_noted("a port is always published on its own host", "mode"),
}
MOUNT: dict[str, Key] = {
    **_yes("type", "source", "target", "read_only", "volume", "tmpfs", "bind", "image"),
    **_noted("it has no meaning on Linux", "consistency"),
}
MOUNT_VOLUME: dict[str, Key] = {
    **_noted("a new volume is empty here", "nocopy"),
    **_noted("labels of volumes are not carried", "labels"),
    **_no("mount the whole volume", "subpath"),
}
MOUNT_TMPFS: dict[str, Key] = {**_yes("size"), **_noted("a tmpfs is writable for the service's user", "mode")}
NETWORK_OF_SERVICE: dict[str, Key] = {
    **_yes("aliases"),
    **_no("addresses are given out by the host", "ipv4_address", "ipv6_address", "link_local_ips", "mac_address"),
    **_no("the app's network has no options", "driver_opts", "interface_name"),
    **_noted("there is one network", "priority", "gw_priority"),
}
FILE_OF_SERVICE: dict[str, Key] = {
    **_yes("source", "target"),
    **_noted("files of configuration are readable by the service's user only", "uid", "gid", "mode"),
}
ULIMITS: dict[str, Key] = {
    **_yes("nofile"),
    **_no("core dumps are always off", "core", harmless=("0",)),
    **_no(
        "only the limit of open files can be set; processes are limited by pids_limit",
        "as",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ),
}
BLKIO: dict[str, Key] = {
    **_yes("device_read_bps", "device_write_bps", "device_read_iops", "device_write_iops"),
    **_no("disks are shared by rates, not by weight", "weight", "weight_device"),
}
BLKIO_RATE: dict[str, Key] = {
    **_yes("rate"),
    **_noted("the rate holds for the disk that holds the host's apps, whatever its name there", "path"),
}
LOGGING: dict[str, Key] = _yes("driver", "options")

NETWORK: dict[str, Key] = {
    **_noted("it is for people", "name"),
    **_noted("labels of networks are not carried", "labels"),
    **_noted("an app's network is for its own services only", "attachable"),
    **_no("there is one bridge network per app", "driver", harmless=("bridge", "default")),
    **_no("the app's network has no options", "driver_opts"),
    **_no("addresses are given out by the host", "ipam"),
    **_no("apps cannot share a network: publish a port", "external", harmless=("false",)),
    **_no("the app's network leads outside; use network_mode: none where no network is needed", "internal",
          harmless=("false",)),
    **_no("the app's network is IPv4", "enable_ipv6", harmless=("false",)),
    **_no("the app's network is IPv4", "enable_ipv4", harmless=("true",)),
}  # fmt: skip
VOLUME: dict[str, Key] = {
    **_noted("a volume belongs to its app and has its name there", "name"),
    **_noted("labels of volumes are not carried", "labels"),
    **_no("volumes lie on the host's own disk", "driver", harmless=("local",)),
    **_no("a volume has a size alone: `volumes: {NAME: {quota: 64Mi}}` in app.yaml", "driver_opts"),
    **_no("apps cannot share a volume", "external", harmless=("false",)),
}
CONFIG: dict[str, Key] = {
    **_yes("file", "content", "environment"),
    **_noted("it is for people", "name", "labels"),
    **_no("its content is not known here; declare it in app.yaml under `config`", "external", harmless=("false",)),
    **_no("templates are not evaluated", "template_driver"),
}
SECRET: dict[str, Key] = {
    **_yes("file", "environment"),
    **_noted("it is for people", "name", "labels"),
    **_into("into a declared secret whose value the fleet sets", "external"),
    **_no("secrets come from the fleet's configuration", "driver", "driver_opts", "template_driver"),
}
INCLUDE: dict[str, Key] = {
    **_yes("path"),
    **_no("variables come from the environment and the .env file beside the first compose file", "env_file"),
    **_no("paths are relative to the file that names them", "project_directory"),
}
EXTENDS: dict[str, Key] = _yes("service", "file")
