from __future__ import annotations

import pytest

from edge_daemon.keeper.runtime.errors import RuntimeFailedError
from edge_daemon.keeper.runtime.isolation import Attachment, behind, bridge_name, clash, handed, table
from edge_daemon.sealed import PortMapping


def port(host_port: int = 8080, host_ip: str = "", protocol: str = "tcp") -> PortMapping:
    return {"host_ip": host_ip, "host_port": host_port, "container_port": 80, "protocol": protocol}


def attached(app: str, service: str, net: int, *ports: PortMapping) -> Attachment:
    return {
        "app": app, "service": service, "bridge": bridge_name(app), "subnet": f"10.88.{net}.0/24",
        "gateway": f"10.88.{net}.1", "address": f"10.88.{net}.2", "ports": list(ports),
    }  # fmt: skip


def test_a_bridge_has_a_short_name_that_is_the_apps_own() -> None:
    names = {bridge_name(app) for app in ("shop", "blog", "a" * 32)}
    assert len(names) == 3
    assert all(len(name) <= 15 for name in names)
    assert bridge_name("shop") == bridge_name("shop")


def test_the_table_is_the_same_in_any_order_and_begins_by_replacing_itself() -> None:
    both = [attached("shop", "web", 3, port()), attached("blog", "web", 4)]
    assert table(both) == table(both[::-1])
    assert table(both).startswith("table inet roadstead\ndelete table inet roadstead\ntable inet roadstead {\n")


def test_only_pairs_of_one_bridge_with_itself_may_talk() -> None:
    text = table([attached("shop", "web", 3), attached("blog", "web", 4)])
    shop, blog = sorted((bridge_name("shop"), bridge_name("blog")))
    assert f'iifname . oifname {{ "{shop}" . "{shop}", "{blog}" . "{blog}" }} accept' in text


def test_without_apps_the_table_is_still_whole() -> None:
    text = table([])
    assert "elements" not in text
    assert "iifname @apps counter drop" in text


@pytest.mark.parametrize(
    ("published", "outside", "inside"),
    [
        pytest.param(port(), 1, 1, id="on all addresses"),
        pytest.param(port(host_ip="0.0.0.0"), 1, 1, id="on all addresses, written out"),
        pytest.param(port(host_ip="192.0.2.7"), 1, 1, id="on one address"),
        pytest.param(port(host_ip="127.0.0.1"), 0, 1, id="on loopback: for this host alone"),
    ],
)
def test_a_published_port_is_translated_where_it_is_published(
    published: PortMapping, outside: int, inside: int
) -> None:
    _, _, rest = table([attached("shop", "web", 3, published)]).partition("chain prerouting")
    before, _, after = rest.partition("chain output")
    rule = "tcp dport 8080 dnat ip to 10.88.3.2:80"
    assert (before.count(rule), after.count(rule)) == (outside, inside)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"bridge": 'x" ; flush ruleset'}, "not a plain IPv4 address", id="a bridge that is text"),
        pytest.param({"address": "10.0.0.1; flush"}, "not a plain IPv4 address", id="an address that is text"),
        pytest.param({"subnet": "::/0"}, "not a plain IPv4 address", id="a subnet that is not IPv4"),
        pytest.param({"ports": [port(host_ip="::1")]}, "app networks are IPv4 only", id="a port on an IPv6 address"),
        pytest.param({"ports": [port(protocol="sctp")]}, "sctp ports cannot be published", id="another protocol"),
        pytest.param({"ports": [port(70000)]}, "out of range", id="no port number"),
    ],
)
def test_what_could_be_read_as_something_else_never_reaches_nft(change: dict[str, object], words: str) -> None:
    with pytest.raises(RuntimeFailedError, match=words):
        table([{**attached("shop", "web", 3), **change}])  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("theirs", "ours", "clashes"),
    [
        pytest.param(port(), port(), True, id="the same"),
        pytest.param(port(), port(host_ip="192.0.2.7"), True, id="one of them on all addresses"),
        pytest.param(port(host_ip="192.0.2.8"), port(host_ip="192.0.2.7"), False, id="two addresses"),
        pytest.param(port(), port(protocol="udp"), False, id="two protocols"),
        pytest.param(port(), port(8081), False, id="two ports"),
    ],
)
def test_two_services_cannot_publish_one_port(theirs: PortMapping, ours: PortMapping, clashes: bool) -> None:
    why = clash([attached("shop", "web", 3, theirs)], attached("blog", "web", 4, ours))
    assert why == (f"port {ours['host_port']} is already published by shop/web" if clashes else None)


def test_a_service_does_not_clash_with_its_own_earlier_self() -> None:
    assert clash([attached("shop", "web", 3, port())], attached("shop", "web", 3, port())) is None


def test_published_ports_go_from_one_slot_to_the_other_in_one_step_and_back() -> None:
    serving = attached("shop", "web", 3, port())
    other = attached("blog", "web", 4, port(9090))
    joining = behind([serving, other], attached("shop", "web.b", 3, port()))
    assert (joining["ports"], joining.get("later")) == ([], [port()])
    assert clash([serving, other], attached("shop", "web.b", 3, port())) is None
    assert clash([serving], attached("shop", "api.b", 3, port())) == "port 8080 is already published by shop/web"

    after = handed([serving, joining, other], "shop", "b")

    assert {a["service"]: a["ports"] for a in after} == {"web": [], "web.b": [port()]}
    assert handed([*after, other], "shop", "b") == [], "doing it twice does no harm"
    assert {a["service"]: a["ports"] for a in handed(after, "shop", "a")} == {"web": [port()], "web.b": []}
    assert behind([other], attached("shop", "web.b", 3, port())) == attached("shop", "web.b", 3, port())
