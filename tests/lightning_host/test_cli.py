"""The command: what it says when it starts, and when it can't."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lightning_host.cli import main
from tests.lightning_host.programs import free_port
from tests.support import asking

if TYPE_CHECKING:
    from collections.abc import Iterator

STRING = "type=flash;server=http://127.0.0.1:9/graphql;token=ory_st_secret;allowinsecure=true"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "lightning-host: LIGHTNING_HOST_CONNECTION_STRING is missing"),
        ({"CONNECTION_STRING": "type=flsh;token=secret"}, "type=flsh has no driver installed; installed: flash"),
        ({"CONNECTION_STRING": "type=flash"}, "the connection string of store shop can't be used: the key 'token' is"),
        ({"CONNECTION_STRING": f'"{STRING}"'}, "leave out the quotation marks around the whole"),
        (
            {"CONNECTION_STRING": STRING, "DATABASE_URL": "mysql://x:secret@y/z"},
            "must begin with sqlite:// or postgresql",
        ),
        ({"CONNECTION_STRING": STRING, "DATABASE_URL": "secret"}, "DATABASE_URL must begin with sqlite:// or"),
    ],
)
def test_what_can_not_start_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variables: dict[str, str], words: str
) -> None:
    """A bad setting is one line on standard error, without a secret, and status 2."""
    for name, value in variables.items():
        monkeypatch.setenv(f"LIGHTNING_HOST_{name}", value)
    assert main(["--port", "0"]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
    assert "secret" not in told


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:////no/such/folder/host.sqlite3", "can't be used: unable to open database file"),
        (
            "postgresql://host:secret@127.0.0.1:9/host",
            'can\'t be used: connection failed: connection to server at "127.0.0.1", port 9 failed: Connection refused',
        ),
    ],
)
def test_database_that_can_not_be_opened_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str, words: str
) -> None:
    """A database that is not there is one line on standard error, without a secret, and status 1."""
    monkeypatch.setenv("LIGHTNING_HOST_CONNECTION_STRING", STRING)
    monkeypatch.setenv("LIGHTNING_HOST_DATABASE_URL", url)
    assert main(["--port", "0"]) == 1
    told = capsys.readouterr().err
    assert told == f"lightning-host: can't start: the database (LIGHTNING_HOST_DATABASE_URL) {words}\n"


def test_database_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """PostgreSQL without its package is one line that says what to install, and status 2."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.setenv("LIGHTNING_HOST_CONNECTION_STRING", STRING)
    monkeypatch.setenv("LIGHTNING_HOST_DATABASE_URL", "postgresql://host:secret@127.0.0.1:9/host")
    assert main(["--port", "0"]) == 2
    told = "lightning-host: LIGHTNING_HOST_DATABASE_URL needs the package psycopg: pip install 'psycopg[binary]'\n"
    assert capsys.readouterr().err == told


def test_missing_extra_is_named() -> None:
    """Without the packages of the extra there is one line that says how to get them, and status 1."""
    program = "import sys; sys.modules['jinja2'] = None; from lightning_host.cli import main; sys.exit(main([]))"
    environment = {"LIGHTNING_HOST_CONNECTION_STRING": STRING}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    words = "the package jinja2 is missing: install this one with its extra 'host'"
    assert (ended.returncode, ended.stderr) == (1, f"lightning-host: {words}\n")


def test_port_that_does_not_exist(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A port beyond the last is refused, and no other taken in its place."""
    monkeypatch.setenv("LIGHTNING_HOST_CONNECTION_STRING", STRING)
    assert main(["--port", "99999"]) == 2
    assert capsys.readouterr().err.startswith("lightning-host: LIGHTNING_HOST_PORT must be less than or equal")


def test_variable_that_nothing_reads_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """A misspelt variable changes nothing without a word: the log says so, and what was probably meant."""
    monkeypatch.setenv("LIGHTNING_HOST_CONNECTION_STRING", STRING)
    monkeypatch.setenv("LIGHTNING_HOST_DATABASE_URL", f"sqlite:///{tmp_path}/host.sqlite3")
    monkeypatch.setenv("LIGHTNING_HOST_TRUSTED_PROXY", "10.0.0.1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        main(["--port", str(taken.getsockname()[1])])
    words = "LIGHTNING_HOST_TRUSTED_PROXY is no setting of this host; did you mean LIGHTNING_HOST_TRUSTED_PROXIES?"
    assert words in caplog.messages


@pytest.mark.parametrize(
    ("options", "level", "expected"),
    [([], None, "WARNING"), ([], "error", "ERROR"), (["--verbose"], None, "INFO"), (["--verbose"], "debug", "DEBUG")],
)
def test_log_level_is_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: list[str], level: str | None, expected: str
) -> None:
    """The environment says from which level on lines are logged; `--verbose` lowers it and never raises it."""
    monkeypatch.setenv("LIGHTNING_HOST_CONNECTION_STRING", STRING)
    monkeypatch.setenv("LIGHTNING_HOST_DATABASE_URL", f"sqlite:///{tmp_path}/host.sqlite3")
    if level is not None:
        monkeypatch.setenv("LIGHTNING_HOST_LOG_LEVEL", level)
    root = logging.getLogger()
    monkeypatch.setattr(root, "level", root.level)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert main(["--port", str(taken.getsockname()[1]), *options]) == 1
    assert logging.getLevelName(root.level) == expected


def test_port_that_is_taken_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A port that somebody else has is one line and status 1."""
    monkeypatch.setenv("LIGHTNING_HOST_CONNECTION_STRING", STRING)
    monkeypatch.setenv("LIGHTNING_HOST_DATABASE_URL", f"sqlite:///{tmp_path}/host.sqlite3")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--port", str(port)]) == 1
    words = "end what listens there, or choose another port with --port or LIGHTNING_HOST_PORT"
    said = f"lightning-host: can't start: 127.0.0.1 port {port}: Address already in use; {words}\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "http"], "argument --port: must be a whole number"),
        (["--prot=80"], "unrecognized arguments: --prot=80"),
        (["--port"], "argument --port: expected one argument"),
        (["merchant-link", "--minutes", "soon"], "argument --minutes: must be a whole number"),
        (["merchant-link", "--minutes", "0"], "--minutes must be from 1 to "),
        (["merchant-link", "--store", "cafe"], "--store must be one of shop"),
        (["--port", "70000"], "LIGHTNING_HOST_PORT must be less than or equal"),
        (["--bind", "203.0.113.7"], "choose an address of this machine with --bind or LIGHTNING_HOST_BIND"),
        (["backup"], "the following arguments are required: path"),
    ],
)
def test_wrong_usage_names_what_is_wrong(
    arguments: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """A mistake is told with the name of the option; the status is 2, and 1 where it is right and does not work."""
    monkeypatch.setenv("LIGHTNING_HOST_CONNECTION_STRING", STRING)
    monkeypatch.setenv("LIGHTNING_HOST_DATABASE_URL", f"sqlite:///{tmp_path}/host.sqlite3")
    try:
        status: object = main(arguments)
    except SystemExit as end:
        status = end.code
    assert words in capsys.readouterr().err
    assert status == (1 if "--bind" in arguments else 2)


@contextlib.contextmanager
def _running(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a program while the block runs, however that ends."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("as_json", [True, False])
def test_serves_until_it_is_asked_to_end(tmp_path: Path, as_json: bool) -> None:  # noqa: FBT001 - a case
    """Started as a module it says where it serves and how BTCPay connects, and ends with status 0 on SIGTERM."""
    port = free_port()
    environment = {
        "LIGHTNING_HOST_CONNECTION_STRING": STRING,
        "LIGHTNING_HOST_DATABASE_URL": f"sqlite:///{tmp_path}/host.sqlite3",
        "LIGHTNING_HOST_PHOENIXD_PASSWORD": "kept-from-every-log",
        "FLASH_JOURNAL_URL": "memory:",
    }
    command = [sys.executable, "-m", "lightning_host", "--port", str(port), *(["--json"] if as_json else [])]
    with _running(command, tmp_path, environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = f"http://127.0.0.1:{port}"
        if as_json:
            assert json.loads(line) == {"url": url, "port": port, "stores": ["shop"]}
        else:
            assert line == f"serving shop at {url}\n"
            line = process.stdout.readline()
            assert f" type=phoenixd;server={url}/;password=PASSWORD" in line  # what to paste, and never the password
        assert asking.get(f"{url}/live", timeout=40).json() == {"status": "ok"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.mark.parametrize(("hard", "warned"), [(5_000, False), (1_000, True)])
def test_files_are_allowed_for_its_connections(tmp_path: Path, *, hard: int, warned: bool) -> None:
    """A shell's low limit of open files is raised to what the connections need, or the log says that it can't be."""
    environment = {
        "LIGHTNING_HOST_CONNECTION_STRING": STRING,
        "LIGHTNING_HOST_DATABASE_URL": f"sqlite:///{tmp_path}/host.sqlite3",
        "FLASH_JOURNAL_URL": "memory:",
        "PATH": os.defpath,
    }
    command = f'ulimit -Sn 500; ulimit -Hn {hard}; exec "{sys.executable}" -m lightning_host --port 0'
    with _running(["sh", "-c", command], tmp_path, environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        limits = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
        process.terminate()
        _, log = process.communicate(timeout=60)
    (files,) = [line.split()[3] for line in limits if line.startswith("Max open files")]
    assert files == str(min(4_200, hard))
    assert ("MOST_CONNECTIONS is more than this process may have" in log) is warned
