"""Who reaches whom, from inside real containers and from the host and its neighbour outside."""

from __future__ import annotations

import os
import socket
import subprocess

import pytest
from runtime_support import BUSYBOX, Neighbour, World, fetch, listening, wait_for

from edge_daemon.keeper.runtime.errors import RuntimeFailedError
from edge_daemon.keeper.runtime.isolation import bridge_name
from edge_daemon.sealed import PortMapping

HTTPD = ["/bin/httpd", "-f", "-p", "80", "-h", "/"]
PUBLISHED: list[PortMapping] = [{"host_ip": "", "host_port": 8080, "container_port": 80, "protocol": "tcp"}]


def asking(*urls: str) -> list[str]:
    """A client that asks each address for two seconds and says what came."""
    ask = 'echo "$u: $(timeout 2 wget -qO- http://$u/index.html 2>/dev/null || echo none)"'
    one = f'for u in "$@"; do {ask} & done; wait; echo done'
    return ["/bin/sh", "-c", one, "sh", *urls]


def start_web(host: World, ports: list[PortMapping] | None = None) -> None:
    host.runtime.start(host.app("shop", host.service("shop", "web", HTTPD, ports=ports or []))["web"])
    wait_for(lambda: _answers("10.88.3.2", 80), 5, "the web service")


def _answers(address: str, port: int) -> bool:
    try:
        return b"hello from the container" in fetch(address, port)
    except OSError:
        return False


def test_a_service_reaches_the_other_service_of_its_app_by_name_on_port_80(host: World) -> None:
    specs = host.app(
        "shop",
        host.service("shop", "web", HTTPD),
        host.service(
            "shop", "client", ["/bin/sh", "-c", "sleep 0.3; exec wget -qO- http://web/index.html"], address="10.88.3.3"
        ),
    )
    host.runtime.start(specs["web"])
    host.runtime.start(specs["client"])
    assert host.ended("shop", "client").exit_code == 0
    assert host.log("shop", "client") == "hello from the container"


def test_another_app_and_the_hosts_own_services_are_out_of_reach_and_the_lan_is_not(host: World) -> None:
    start_web(host, PUBLISHED)
    page = host.base / "index.html"
    page.write_text("hello from the neighbour\n")
    with Neighbour() as lan, lan.serving(lan.ADDRESS, 80, page), listening("0.0.0.0", 9000) as server:
        urls = ["10.88.3.2:80", f"{lan.HOST}:8080", "10.88.4.1:8080", "10.88.4.1:9000", f"{lan.HOST}:9000", lan.ADDRESS]
        spec = host.app(
            "blog", host.service("blog", "probe", asking(*urls), address="10.88.4.2"), subnet="10.88.4.0/24"
        )
        host.runtime.start(spec["probe"])
        said = host.says("blog", "probe", "done", 30).splitlines()
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()  # not even a connection came
    assert sorted(said) == sorted(
        [*(f"{url}: none" for url in urls[:-1]), f"{lan.ADDRESS}: hello from the neighbour", "done"]
    )


def test_a_published_port_is_reached_from_the_host_and_the_lan_and_an_unpublished_one_is_not(host: World) -> None:
    start_web(host, PUBLISHED)
    with Neighbour() as lan:
        lan.run("ip", "route", "add", "10.88.3.0/24", "via", lan.HOST)
        assert _answers("127.0.0.1", 8080)
        assert _answers(lan.HOST, 8080)
        assert "hello from the container" in lan.fetch(lan.HOST, 8080)
        assert lan.fetch("10.88.3.2", 80) == ""
        host.runtime.remove("shop", "web")
        assert not _answers("127.0.0.1", 8080)
        assert lan.fetch(lan.HOST, 8080) == ""


def test_a_port_published_on_loopback_is_for_the_host_alone(host: World) -> None:
    start_web(host, [{**PUBLISHED[0], "host_ip": "127.0.0.1"}])
    with Neighbour() as lan:
        assert _answers("127.0.0.1", 8080)
        assert lan.fetch(lan.HOST, 8080) == ""
        # a neighbour may well put 127.0.0.1 on the wire
        lan.run("ip", "addr", "flush", "dev", "lo")
        lan.run(BUSYBOX, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/lan0/route_localnet")
        lan.run("ip", "route", "add", "127.0.0.1/32", "via", lan.HOST, "src", lan.ADDRESS)
        assert lan.fetch("127.0.0.1", 8080) == ""


def test_a_service_reaches_its_own_apps_published_port_by_the_hosts_address(host: World) -> None:
    specs = host.app(
        "shop",
        host.service("shop", "web", HTTPD, ports=PUBLISHED),
        host.service("shop", "client", asking("10.88.3.1:8080"), address="10.88.3.3"),
    )
    host.runtime.start(specs["web"])
    wait_for(lambda: _answers("10.88.3.2", 80), 5, "the web service")
    host.runtime.start(specs["client"])
    assert "10.88.3.1:8080: hello from the container" in host.says("shop", "client", "done")


def test_without_a_network_there_is_loopback_alone(host: World) -> None:
    spec = host.app("shop", host.service("shop", "web", ["/bin/ls", "/sys/class/net"], network="none"))["web"]
    host.runtime.start(spec)
    assert host.ended("shop", "web").exit_code == 0
    assert host.log("shop", "web") == "lo"


def test_with_the_hosts_network_it_sees_the_hosts_interfaces(host: World) -> None:
    with Neighbour():
        spec = host.app("shop", host.service("shop", "web", ["/bin/ls", "/sys/class/net"], network="host"))["web"]
        host.runtime.start(spec)
        assert host.ended("shop", "web").exit_code == 0
        assert host.log("shop", "web").split() == ["lo", "up0"]


def test_a_port_that_another_app_publishes_is_refused_by_name(host: World) -> None:
    start_web(host, PUBLISHED)
    other = host.app(
        "blog", host.service("blog", "web", HTTPD, address="10.88.4.2", ports=PUBLISHED), subnet="10.88.4.0/24"
    )
    with pytest.raises(RuntimeFailedError, match="port 8080 is already published by shop/web") as caught:
        host.runtime.start(other["web"])
    assert caught.value.element == "blog/web"
    assert [s.app for s in host.runtime.seen()] == ["shop"]


def test_two_apps_with_two_services_each_start_at_the_same_time(host: World) -> None:
    running = []
    for number, app in enumerate(("shop", "blog"), start=3):
        pairs = [host.service(app, f"s{i}", HTTPD, address=f"10.88.{number}.{i}") for i in (2, 3)]
        for name, spec in host.app(app, *pairs, subnet=f"10.88.{number}.0/24").items():
            command = host.runtime.starter_command("start", app, name, spec.revision["revision"], spec.seal, "65536")
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True))
    answers = [process.communicate(timeout=60)[0] for process in running]
    assert all('"pid"' in answer for answer in answers), answers
    assert len([s for s in host.runtime.seen() if s.pid]) == 4
    for address in ("10.88.3.2", "10.88.3.3", "10.88.4.2", "10.88.4.3"):
        wait_for(lambda a=address: _answers(a, 80), 5, address)  # type: ignore[misc]


def test_prune_takes_down_the_bridge_and_the_group_of_an_app_that_left_and_no_other(host: World) -> None:
    start_web(host)
    blog = host.app("blog", host.service("blog", "web", HTTPD, address="10.88.4.2"), subnet="10.88.4.0/24")
    host.runtime.start(blog["web"])
    host.runtime.remove("blog", "web")
    host.runtime.prune({"shop"})
    names = [name for _, name in socket.if_nameindex()]
    assert bridge_name("shop") in names
    assert bridge_name("blog") not in names
    memory = host.runtime.hierarchies.folder("memory", f"{host.cgroup_parent}/apps")
    assert os.path.isdir(f"{memory}/shop")
    assert not os.path.isdir(f"{memory}/blog")
    assert _answers("10.88.3.2", 80)
