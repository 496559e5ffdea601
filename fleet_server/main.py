"""`fleet-server init | run | backup | restore | doctor | operator`."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import sys
import time
from pathlib import Path

from fleet_protocol.wire.durable import replace_durably
from fleet_protocol.wire.errors import Exit, RoadsteadError
from fleet_server.config import Layout, ServerConfig, host_port
from fleet_server.errors import SetupError
from fleet_server.store.records import ROLES, AuditEntry
from fleet_server.version import VERSION


def main(argv: list[str] | None = None) -> int:
    """The process's exit status."""
    options = _parser().parse_args(argv)
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.INFO,
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        return int(options.call(options))
    except RoadsteadError as error:
        print(f"error[{error.code}] {error.sentence()}", file=sys.stderr)
        if error.hint:
            print(f"  try: {error.hint}", file=sys.stderr)
        return int(error.exit_status)
    except OSError as error:
        print(f"error[E0900] {error}", file=sys.stderr)
        return int(Exit.OTHER)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fleet-server", description="The central side of Roadstead.")
    parser.add_argument("--version", action="version", version=f"fleet-server {VERSION}")
    parser.add_argument("--verbose", action="store_true", help="say more in the log")
    verbs = parser.add_subparsers(required=True, metavar="init|run|backup|restore|doctor|operator")

    init = verbs.add_parser("init", help="make a server directory")
    init.add_argument("--dir", type=Path, required=True, help="the directory to make")
    init.add_argument("--name", action="append", required=True, help="DNS name or IP address; may be repeated")
    init.add_argument("--listen", default="127.0.0.1:8443", help="HTTPS address (default: %(default)s)")
    init.add_argument("--url", help="how devices and operators reach it (default: https://NAME:PORT)")
    init.add_argument("--broker", help="HOST:PORT of the broker as devices reach it (default: NAME:8883)")
    init.add_argument(
        "--broker-listen", help="HOST:PORT where it listens, if devices reach it by another address (NAT)"
    )
    init.set_defaults(call=_init)

    run = verbs.add_parser("run", help="serve")
    run.add_argument("--dir", type=Path, required=True)
    run.add_argument("--listen-fd", type=int, action="append", default=[], help="serve this open socket as well")
    run.set_defaults(call=_run)

    backup = verbs.add_parser(
        "backup", help="write all of a server, keys included, into one file; it may run meanwhile"
    )
    backup.add_argument("--dir", type=Path, required=True)
    backup.add_argument("--to", type=Path, required=True, help="the file to make (0600); it must not be there")
    backup.set_defaults(call=_backup)

    restore = verbs.add_parser("restore", help="make a server directory from a backup")
    restore.add_argument("--from", dest="archive", type=Path, required=True, help="the file that backup wrote")
    restore.add_argument("--dir", type=Path, required=True, help="the directory to make; empty, or not there")
    restore.set_defaults(call=_restore)

    doctor = verbs.add_parser("doctor", help="look for what is wrong with a server directory")
    doctor.add_argument("--dir", type=Path, required=True)
    doctor.set_defaults(call=_doctor)

    operator = verbs.add_parser("operator", help="add or revoke somebody who may use the API")
    operator.add_argument("action", choices=["add", "revoke", "list"])
    operator.add_argument("who", nargs="?", help="the operator's name")
    operator.add_argument("--dir", type=Path, required=True)
    operator.add_argument("--role", choices=ROLES, default="operator")
    operator.add_argument("--token-file", type=Path, help="where the new token goes (0600)")
    operator.set_defaults(call=_operator)
    return parser


def _init(options: argparse.Namespace) -> int:
    from fleet_server.init import init, next_steps

    names = tuple(dict.fromkeys(options.name))
    host, port = host_port(options.listen, "--listen")
    for address in (host,):
        if address not in names and not _is_any(address):
            names = (*names, address)
    broker = host_port(options.broker or f"{_bracketed(names[0])}:8883", "--broker")
    url = (options.url or f"https://{_bracketed(names[0])}:{port}").rstrip("/")
    here = host_port(options.broker_listen, "--broker-listen") if options.broker_listen else None
    config = ServerConfig(names, url, host, port, *broker, here)
    layout = Layout(options.dir.absolute())
    init(layout, config, int(time.time()))
    print(next_steps(layout, config))
    print(layout.admin_token)
    return Exit.OK


def _run(options: argparse.Namespace) -> int:
    from fleet_server.run import run

    return run(Layout(options.dir.absolute()), options.listen_fd)


def _backup(options: argparse.Namespace) -> int:
    from fleet_server.backup import backup

    made = backup(Layout(options.dir.absolute()), options.to.absolute(), int(time.time()))
    print(f"{options.to}: {made.files} files, {made.size} bytes, read back and whole. SHA-256 {made.sha256}")
    print("It holds every key of this server: keep it as you keep those.", file=sys.stderr)
    return Exit.OK


def _restore(options: argparse.Namespace) -> int:
    from fleet_server.backup import restore

    layout = Layout(options.dir.absolute())
    files = restore(options.archive.absolute(), layout, int(time.time()))
    print(f"{layout.base}: {files} files, as they were written. Look with: fleet-server doctor --dir {layout.base}")
    return Exit.OK


def _doctor(options: argparse.Namespace) -> int:
    from fleet_server.doctor import examine

    worst = Exit.OK
    for finding in examine(Layout(options.dir.absolute()), int(time.time())):
        print(finding)
        if not finding.good:
            worst = Exit.OTHER
    return worst


def _operator(options: argparse.Namespace) -> int:
    from fleet_server.init import new_operator_token, operator
    from fleet_server.store.sqlite import open_store

    layout, now = Layout(options.dir.absolute()), int(time.time())
    if not layout.store.exists():
        raise SetupError("there is no server here", element=str(layout.base), hint="fleet-server init")
    store = open_store(layout.store)
    try:
        if options.action == "list":
            for known in store.operators():
                print(f"{known.name}\t{known.role}\t{'revoked' if known.revoked_at else 'active'}")
            return Exit.OK
        if not options.who:
            raise SetupError("a name is wanted", hint=f"fleet-server operator {options.action} NAME --dir DIR")
        if options.action == "add":
            if options.token_file is None:
                raise SetupError("--token-file is wanted: a token is never printed")
            if options.token_file.exists():
                raise SetupError("the file is there already", element=str(options.token_file))
            token = new_operator_token()
            replace_durably(options.token_file, f"{token}\n".encode())
            store.add_operator(operator(options.who, options.role, token, now))
        elif not store.revoke_operator(options.who, now):
            raise SetupError("there is no such active operator", element=options.who)
        detail = {"role": options.role} if options.action == "add" else {}
        store.record(AuditEntry(now, "fleet-server operator", f"{options.action} operator", options.who, detail))
    finally:
        store.close()
    return Exit.OK


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def _is_any(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main())
