"""Limits, restarts and `deploy` of a compose service."""

from __future__ import annotations

import re

from fleet_release.compose import keys
from fleet_release.compose.model import ComposeService
from fleet_release.compose.read import Reader
from fleet_release.findings import Mark
from fleet_release.values import parse_cpus, parse_duration, parse_size
from fleet_release.yaml_tree import Map, Node

USUAL_SHARES = 1024
DISK_RATES = {
    "device_read_bps": "io_read_bps",
    "device_write_bps": "io_write_bps",
    "device_read_iops": "io_read_iops",
    "device_write_iops": "io_write_iops",
}
UNBOUNDED = ("-1", "0")


def read_limits(node: Map, service: ComposeService, reader: Reader) -> None:
    """mem_limit, cpus, pids_limit and their relatives; deploy.resources.limits where the short key is absent."""
    deploy = reader.mapping(node.get("deploy"), "deploy")
    resources = reader.mapping(deploy.get("resources"), "deploy.resources") if deploy else None
    limits: Map | None = None
    if resources:
        reader.keys(resources, keys.RESOURCES, "deploy.resources")
        limits = reader.mapping(resources.get("limits"), "deploy.resources.limits")
        if reservations := reader.mapping(resources.get("reservations"), "deploy.resources.reservations"):
            reader.keys(reservations, keys.RESERVATIONS, "deploy.resources.reservations")
    if limits:
        reader.keys(limits, keys.RESOURCE_LIMITS, "deploy.resources.limits")
    for short, long, field, parse in (
        ("mem_limit", "memory", "memory_bytes", parse_size),
        ("cpus", "cpus", "cpu_millis", parse_cpus),
        ("pids_limit", "pids", "pids", None),
    ):
        places = [(short, node.get(short)), (f"deploy.resources.limits.{long}", limits.get(long) if limits else None)]
        for what, place in places:
            if place is None or _unbounded(place, what, reader):
                continue
            value = reader.parsed(place, what, parse) if parse else reader.whole(place, what, 1, 65536)
            if value is None:
                continue
            if field in service.limits and service.limits[field] != value:
                reader.findings.add("E0414", place.mark, f"{what} says something else than {short}")
            elif field not in service.limits:
                _put(service, field, value, place.mark)
    _cpu(node, service, reader)
    _swap(node, service, reader)
    _ulimits(node, service, reader)
    _disk(node, service, reader)


def _unbounded(node: Node, what: str, reader: Reader) -> bool:
    if reader.text(node, what) in UNBOUNDED:
        reader.findings.add("E0414", node.mark, f"{what} means no limit; every container has one, so say how much")
        return True
    return False


def _cpu(node: Map, service: ComposeService, reader: Reader) -> None:
    shares = reader.whole(node.get("cpu_shares"), "cpu_shares", 2, 262_144)
    if shares is not None:
        weight = max(1, min(10_000, round(shares * 100 / USUAL_SHARES)))
        _put(service, "cpu_weight", weight, node.entries["cpu_shares"].mark)
    quota = reader.whole(node.get("cpu_quota"), "cpu_quota", 1000, 1_024_000_000)
    period = reader.whole(node.get("cpu_period"), "cpu_period", 1000, 1_000_000)
    if quota is not None:
        if "cpu_millis" in service.limits:
            reader.findings.add("E0414", node.entries["cpu_quota"].mark, "cpu_quota and cpus both set the same limit")
        else:
            _put(service, "cpu_millis", max(10, quota * 1000 // (period or 100_000)), node.entries["cpu_quota"].mark)
    elif period is not None:
        reader.findings.add("E0414", node.entries["cpu_period"].mark, "cpu_period without cpu_quota sets no limit")
    if (cpuset := reader.text(node.get("cpuset"), "cpuset")) is not None:
        _put(service, "cpuset", cpuset, node.entries["cpuset"].mark)


def _swap(node: Map, service: ComposeService, reader: Reader) -> None:
    """Swap is always off for containers: values that ask for nothing else pass."""
    place = node.get("memswap_limit")
    if place is not None and reader.text(place, "memswap_limit") != "0":
        value = reader.parsed(place, "memswap_limit", _size_or_minus_one)
        if value is not None and value != service.limits.get("memory_bytes"):
            reader.findings.add(
                "E0421",
                place.mark,
                "memswap_limit cannot be honoured: containers never swap; remove it, or set it equal to mem_limit",
            )
    place = node.get("mem_swappiness")
    if place is not None and reader.text(place, "mem_swappiness") != "0":
        reader.findings.add("E0421", place.mark, "mem_swappiness cannot be honoured: containers never swap; remove it")


def _size_or_minus_one(text: str) -> int:
    return -1 if text.strip() == "-1" else parse_size(text)


def _ulimits(node: Map, service: ComposeService, reader: Reader) -> None:
    ulimits = reader.mapping(node.get("ulimits"), "ulimits")
    if not ulimits:
        return
    reader.keys(ulimits, keys.ULIMITS, "ulimits")
    place = ulimits.get("nofile")
    if isinstance(place, Map):
        soft = reader.whole(place.get("soft"), "ulimits.nofile.soft", 16, 1 << 20)
        hard = reader.whole(place.get("hard"), "ulimits.nofile.hard", 16, 1 << 20)
        for entry in place:
            if entry.key not in ("soft", "hard"):
                reader.findings.add("E0412", entry.mark, f'unknown key "{entry.key}" in ulimits.nofile')
        if soft is not None and hard is not None and soft != hard:
            text = f"ulimits.nofile: soft and hard limit are one here, {hard}"
            reader.findings.note("N0401", place.mark, text)
        value = hard if hard is not None else soft
    else:
        value = reader.whole(place, "ulimits.nofile", 16, 1 << 20)
    if value is not None and place is not None:
        _put(service, "nofile", value, place.mark)


def _disk(node: Map, service: ComposeService, reader: Reader) -> None:
    config = reader.mapping(node.get("blkio_config"), "blkio_config")
    if not config:
        return
    reader.keys(config, keys.BLKIO, "blkio_config")
    for key, field in DISK_RATES.items():
        what, listed = f"blkio_config.{key}", reader.items(config.get(key), f"blkio_config.{key}")
        if len(listed) > 1:
            reader.findings.add("E0414", listed[1].mark, f"{what}: one rate, for an edge host's apps lie on one disk")
        for item in listed[:1]:
            entry = reader.mapping(item, what)
            if not entry:
                continue
            reader.keys(entry, keys.BLKIO_RATE, what)
            place = entry.get("rate")
            if place is None:
                reader.findings.add("E0411", entry.mark, f"{what} needs its rate")
                continue
            rate = reader.whole(place, what, 1, (1 << 32) - 1) if "iops" in field else reader.parsed(
                place, what, parse_size
            )  # fmt: skip
            if rate is not None:
                _put(service, field, rate, place.mark)


def _put(service: ComposeService, field: str, value: object, mark: Mark) -> None:
    service.limits[field] = value
    service.marks["limits", field] = mark


def read_deploy(node: Map, service: ComposeService, reader: Reader) -> None:
    """What deploy says beside resources."""
    deploy = reader.mapping(node.get("deploy"), "deploy")
    for what, place in (("scale", node.get("scale")), ("deploy.replicas", deploy.get("replicas") if deploy else None)):
        if place is not None and reader.text(place, what) != "1":
            reader.findings.add("E0421", place.mark, f"{what} cannot be honoured: a device runs each service once")
    if not deploy:
        return
    reader.keys(deploy, keys.DEPLOY, "deploy")
    if (update := reader.mapping(deploy.get("update_config"), "deploy.update_config")) is not None:
        reader.keys(update, keys.UPDATE_CONFIG, "deploy.update_config")
        for entry in update:
            if (text := reader.text(entry.node, f"deploy.update_config.{entry.key}")) is not None:
                service.update[entry.key] = text
    policy = reader.mapping(deploy.get("restart_policy"), "deploy.restart_policy")
    if policy is None:
        return
    reader.keys(policy, keys.RESTART_POLICY, "deploy.restart_policy")
    place = policy.get("condition")
    condition = reader.text(place, "deploy.restart_policy.condition") or "any"
    name = {"none": "no", "on-failure": "on-failure", "any": "always"}.get(condition)
    if name is None:
        mark = place.mark if place else policy.mark
        reader.findings.add(
            "E0414", mark, f"deploy.restart_policy.condition is none, on-failure or any, not {condition!r}"
        )
        return
    most = reader.whole(policy.get("max_attempts"), "deploy.restart_policy.max_attempts", 1, 1000)
    service.put(
        "restart", {"policy": name, **({"max_attempts": most} if most else {})}, deploy.entries["restart_policy"].mark
    )


def read_restart(node: Map, service: ComposeService, reader: Reader) -> None:
    """`restart`; `unless-stopped` is always, because nobody stops a service by hand here."""
    place = node.get("restart")
    text = reader.text(place, "restart")
    if place is None or text is None or "restart" in service.fields:
        return
    found = re.fullmatch(r"(no|always|unless-stopped|on-failure)(?::([0-9]{1,4}))?", text)
    if not found or (found[2] and found[1] != "on-failure"):
        wanted = 'restart is "no", always, on-failure[:n] or unless-stopped'
        reader.findings.add("E0414", place.mark, f"{wanted}, not {text!r}")
        return
    if found[1] == "unless-stopped":
        reader.findings.note("N0401", place.mark, "restart: unless-stopped is translated into always")
    policy = "always" if found[1] == "unless-stopped" else found[1]
    service.put("restart", {"policy": policy, **({"max_attempts": int(found[2])} if found[2] else {})}, place.mark)


def read_stop(node: Map, service: ComposeService, reader: Reader) -> None:
    """stop_signal and stop_grace_period."""
    if (signal := reader.text(node.get("stop_signal"), "stop_signal")) is not None:
        mark = node.entries["stop_signal"].mark
        if signal.isdigit():
            reader.findings.add("E0414", mark, f"stop_signal: name the signal, such as SIGTERM, instead of {signal}")
        else:
            service.put("stop_signal", signal if signal.startswith("SIG") else f"SIG{signal}", mark)
    grace = reader.parsed(node.get("stop_grace_period"), "stop_grace_period", parse_duration)
    if grace is not None:
        service.put("stop_grace_s", -int(-grace // 1), node.entries["stop_grace_period"].mark)


def read_healthcheck(node: Map, service: ComposeService, reader: Reader) -> None:
    """Healthcheck into a probe that runs the same command; compose's own defaults where it leaves something open."""
    check = reader.mapping(node.get("healthcheck"), "healthcheck")
    if check is None:
        return
    reader.keys(check, keys.HEALTHCHECK, "healthcheck")
    mark = node.entries["healthcheck"].mark
    test = [text for text, _ in reader.strings(check.get("test"), "healthcheck.test")]
    if reader.flag(check.get("disable"), "healthcheck.disable") or test[:1] == ["NONE"]:
        return
    place = check.get("test")
    if place is None:
        reader.findings.add("E0411", mark, "healthcheck has no test; the image's own health check is not used here")
        return
    if isinstance(place, Map) or not test:
        return
    if not hasattr(place, "items"):
        arguments = ["/bin/sh", "-c", test[0]]
    elif test[0] == "CMD-SHELL" and len(test) == 2:
        arguments = ["/bin/sh", "-c", test[1]]
    elif test[0] == "CMD" and len(test) > 1:
        arguments = test[1:]
    else:
        reader.findings.add(
            "E0414", place.mark, "healthcheck.test is a text, or a list that begins with CMD, CMD-SHELL or NONE"
        )
        return
    probe: dict[str, object] = {"exec_args": arguments}
    for key, field, usual in (
        ("interval", "every_s", 30),
        ("timeout", "timeout_s", 30),
        ("start_period", "start_period_s", 0),
    ):
        seconds = reader.parsed(check.get(key), f"healthcheck.{key}", parse_duration)
        if seconds is not None and seconds != int(seconds):
            text = f"healthcheck.{key} is rounded up to whole seconds"
            reader.findings.note("N0401", check.entries[key].mark, text)
        probe[field] = usual if seconds is None else max(0 if field == "start_period_s" else 1, -int(-seconds // 1))
    retries = reader.whole(check.get("retries"), "healthcheck.retries", 1, 100)
    probe["failures"] = retries or 3
    service.put("probe", probe, mark)
