"""The doctor: each reason for which something cannot be read is told, with what to change."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from prom_probe.cli.doctor import service
from prom_probe.cli.doctor.finding import Finding
from prom_probe.cli.doctor.identity import Identity, explain_denial, name_capabilities, read_identity
from prom_probe.cli.doctor.report import Report, examine, render_json, render_text
from prom_probe.config.address import Address
from prom_probe.config.error import ConfigError
from prom_probe.config.settings import Config
from prom_probe.run.listening import ListeningSocket, close, listen
from prom_probe.sources.errors import ParseError
from prom_probe.sources.proc_mount import parse_proc_options
from prom_probe.sources.proc_pid_credentials import Credentials, parse_proc_pid_credentials
from prom_probe.tsdb.disk import folder
from tests.support.collector_harness import Machine
from tests.support.doctor_tools import DeniedAccess, credentials, identity, status_text
from tests.support.waiting import DEADLINE_S

PTRACE, SEARCH, CHOWN = 1 << 19, 1 << 2, 1 << 0


APP = credentials(1000, 1000)


@pytest.mark.parametrize(
    ("us", "theirs", "dumpable", "reason", "change"),
    [
        (
            identity(2000, 2000),
            APP,
            True,
            "it runs as uid 1000, gid 1000, and we as uid 2000, gid 2000",
            "runAsUser: 1000",
        ),
        (identity(1000, 2000), APP, True, "and we as uid 1000, gid 2000", "runAsGroup: 1000"),
        (
            identity(0, 0),
            APP,
            True,
            "it runs as uid 1000",
            "or add the capabilities SYS_PTRACE and DAC_READ_SEARCH to ours",
        ),
        (identity(0, 0, PTRACE), APP, True, "it runs as uid 1000", "or add the capabilities DAC_READ_SEARCH to ours"),
        (identity(0, 0, PTRACE | SEARCH), APP, True, "a security module", "the same security profile"),
        (identity(), credentials(1000, 1000, CHOWN | PTRACE), True, "do not have: CHOWN, SYS_PTRACE", "drop: [ALL]"),
        (identity(), APP, False, "PR_SET_DUMPABLE", "readable for its user"),
        (identity(), APP._replace(uids=(1000, 0, 0, 0)), True, "setuid", "SYS_PTRACE"),
        (identity(), APP, True, "a security module", "the same security profile"),
    ],
)
def test_why_a_process_denies_us(us: Identity, theirs: Credentials, dumpable: bool, reason: str, change: str) -> None:
    """The kernel's own rules, in their order."""
    denial = explain_denial(us, theirs, dumpable)
    assert reason in denial.reason
    assert change in denial.change


def test_capabilities_are_named() -> None:
    """As manifests write them; a new one by its number."""
    assert name_capabilities(PTRACE | 1 << 40 | 1 << 50) == ["SYS_PTRACE", "CHECKPOINT_RESTORE", "50"]


def test_credentials_are_parsed() -> None:
    """Four IDs of each kind, two masks."""
    assert parse_proc_pid_credentials(status_text(1, 2, 5).encode()) == credentials(1, 2, 5)
    for damaged in (b"", b"Uid:\t1\n", status_text(1, 2).replace("\t1\t1", "\tx").encode()):
        with pytest.raises(ParseError):
            parse_proc_pid_credentials(damaged)


def test_the_options_of_procfs_are_those_of_its_newest_mount() -> None:
    """Another procfs has its own."""
    lines = (
        b"22 27 0:21 / /proc rw,relatime - proc proc rw\n"
        b"23 27 0:22 / /other rw - proc proc rw,hidepid=1\n"
        b"24 27 0:22 / /proc rw shared:3 - proc proc rw,gid=4,hidepid=invisible,subset=pid\n"
    )
    assert parse_proc_options(lines, "/proc") == {"rw": "", "gid": "4", "hidepid": "invisible", "subset": "pid"}
    assert parse_proc_options(b"nonsense\n" + lines[:48], "/proc") == {"rw": ""}


def test_who_we_are_is_read(tmp_path: Path) -> None:
    """Credentials, and how procfs is mounted."""
    machine = Machine(tmp_path)
    machine.proc.self_cgroup("0::/\n")
    own = machine.proc.root / "self"
    (own / "status").write_text(status_text(1000, 2000, PTRACE))
    (own / "mountinfo").write_text(f"22 27 0:21 / {machine.proc.path} rw - proc proc rw,hidepid=2\n")
    us = read_identity(machine.proc.path)
    assert us.credentials == credentials(1000, 2000, PTRACE)
    assert us.hidepid == "2"
    assert str(us).startswith("uid 1000, gid 2000, SYS_PTRACE, ")


@pytest.fixture
def taken() -> Iterator[Address]:
    """An address at which a stranger listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(0.01)
        yield Address("127.0.0.1", sock.getsockname()[1])


def test_an_address_in_use_is_told(taken: Address) -> None:
    """A free one is fine."""
    config = Config(web_listen_address=(taken,), api_listen_address=(Address("127.0.0.1", 0),))
    used, free = service.check_addresses(config, timeout_s=0.05)
    assert used.status == "missing"
    assert os.strerror(errno.EADDRINUSE) in used.reason
    assert "--web.listen-address" in used.change
    assert free.status == "ok"


def test_a_low_port_needs_a_capability() -> None:
    """Or another port."""

    def refuse(address: Address, api: bool) -> ListeningSocket:
        raise ConfigError(f"cannot listen on {address}: Permission denied")

    # Nothing listens at port 1 of this machine.
    config = Config(web_listen_address=(Address("127.0.0.1", 1),), api_listen_address=())
    (finding,) = service.check_addresses(config, refuse)
    assert finding.status == "missing"
    assert "Permission denied" in finding.reason
    assert "NET_BIND_SERVICE" in finding.change


def test_an_address_that_a_prom_probe_has_is_no_fault(tmp_path: Path) -> None:
    """The doctor may be called beside it; it answers on a socket's path too."""
    from threading import Thread

    address = Address("", 0, str(tmp_path / "api"))
    listener = listen(address, True)
    listener.sock.setblocking(True)

    def answer() -> None:
        for _ in range(2):  # the first only tries whether somebody is there
            connection, _ = listener.sock.accept()
            with connection:
                if connection.recv(4096):
                    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nprom_probe is healthy.")

    thread = Thread(target=answer)
    thread.start()
    try:
        (finding,) = service.check_addresses(Config(web_listen_address=(), api_listen_address=(address,)))
    finally:
        thread.join(DEADLINE_S)
        close(listener)
    assert finding.status == "ok"
    assert finding.detail == "in use by a running prom-probe"


def storage(path: Path, **settings: object) -> Finding:
    (finding,) = service.check_storage(Config(storage_tsdb_path=str(path), **settings))  # type: ignore[arg-type]
    return finding


def test_a_store_that_can_be_is_fine(tmp_path: Path) -> None:
    """One that is not there yet is not made; without the flag nothing is looked at."""
    assert list(service.check_storage(Config())) == []
    assert storage(tmp_path / "new").status == "ok"
    assert not (tmp_path / "new").exists()
    folder.check(str(tmp_path / "old"))
    assert storage(tmp_path / "old").status == "ok"


def test_a_store_in_use_is_no_fault(tmp_path: Path) -> None:
    """The prom-probe that has it is named."""
    held = folder.open_to_write(str(tmp_path / "store"))
    finding = storage(tmp_path / "store")
    held.close()
    assert finding.status == "ok"
    assert f"in use by process {os.getpid()}" in finding.detail


def test_a_store_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    """No parent, a file, something else's folder, no right to write, no room."""
    (tmp_path / "file").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").touch()
    assert "its parent does not exist" in storage(tmp_path / "no" / "where").reason
    assert "not a directory" in storage(tmp_path / "file").reason
    assert "not a prom_probe store" in storage(tmp_path / "other").reason
    (tmp_path / "locked" / "lock").mkdir(parents=True)
    finding = storage(tmp_path / "locked")
    assert finding.reason == f"{tmp_path}/locked/lock: it is a directory and no file"
    assert finding.change == "put that right, or give another directory"
    assert "are free" in storage(tmp_path / "new", storage_tsdb_retention_size=1 << 60).reason
    (finding,) = service.check_storage(Config(storage_tsdb_path=str(tmp_path / "new")), DeniedAccess())
    assert finding.status == "missing"
    assert "permission denied" in finding.reason
    assert "fsGroup" in finding.change


def test_shared_memory_is_looked_at(tmp_path: Path) -> None:
    """Nothing of ours needs it."""
    assert service.check_shared_memory(str(tmp_path)).status == "ok"
    missing = service.check_shared_memory(str(tmp_path / "none"))
    assert (missing.status, "emptyDir" in missing.change) == ("absent", True)
    assert "cannot be written" in service.check_shared_memory(str(tmp_path), DeniedAccess()).reason


def test_a_missing_extra_is_told() -> None:
    """With what to install."""
    config = Config(web_enable_remote_write_receiver=True)
    assert [finding.status for finding in service.check_packages(config)] == ["ok"]
    (finding,) = service.check_packages(config, lambda name: None)
    assert finding.status == "missing"
    assert finding.change == "pip install 'prom-probe[remote]'"


def test_a_procfs_that_is_not_there_is_told(tmp_path: Path) -> None:
    """And the rest is looked at even so."""
    report = examine(Config(path_procfs=str(tmp_path / "none"), web_listen_address=(), api_listen_address=()))
    assert not report.ok
    assert "no procfs" in report.findings[0].reason


FINDINGS = [
    Finding("tree job", "/proc/PID/io", "missing", "1 of 1 process denies it", "because", "that", "no IO"),
    Finding("tree job", "/proc/PID/fd", "ok", "of 1 process"),
    Finding("gpu", "device files", "absent", reason="there is no GPU here"),
]


def test_the_text_has_a_paragraph_a_subject() -> None:
    """Reasons only where something is not there."""
    assert render_text(Report(identity(), FINDINGS)).splitlines() == [
        "prom-probe: uid 1000, gid 1000, no capabilities, on the machine itself",
        "",
        "tree job",
        "  MISSING  /proc/PID/io             1 of 1 process denies it",
        "           why:     because",
        "           change:  that",
        "           without: no IO",
        "  ok       /proc/PID/fd             of 1 process",
        "",
        "gpu",
        "  absent   device files",
        "           why:     there is no GPU here",
        "",
        "1 missing",
    ]


def test_json_has_the_same() -> None:
    """For machines."""
    answer = json.loads(render_json(Report(identity(), FINDINGS)))
    assert answer["ok"] is False
    assert [finding["status"] for finding in answer["findings"]] == ["missing", "ok", "absent"]
    assert answer["findings"][0]["change"] == "that"


@pytest.mark.parametrize(("status", "exit_status"), [("ok", 0), ("absent", 0), ("missing", 1)])
def test_the_exit_status_tells(status: str, exit_status: int) -> None:
    """1 only for what was asked for."""
    assert Report(None, [Finding("gpu", "x", status)]).exit_status == exit_status  # type: ignore[arg-type]
