"""`python -m local`: Azurite and the host start and end together, whatever happens to any of them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from azure.data.tables import TableServiceClient

from local.azurite import Azurite, running
from local.ports import listen
from local.settings import ROOT, LocalError, StoragePorts
from tests.local.hosting import TOY_APP

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the process table of Linux")

START = 60.0
ENTITY = {"PartitionKey": "a", "RowKey": "b", "Value": 1}


def free_ports(count: int) -> list[int]:
    taken = [listen(0) for _ in range(count)]
    ports = [sockets[0].getsockname()[1] for sockets in taken]
    for sockets in taken:
        for opened in sockets:
            opened.close()
    return ports


def environment(folder: Path) -> dict[str, str]:
    names = ("PORT", "AZURITE_BLOB_PORT", "AZURITE_QUEUE_PORT", "AZURITE_TABLE_PORT")
    ports = {name: str(port) for name, port in zip(names, free_ports(4), strict=True)}
    return {**os.environ, **ports, "DATA_DIR": str(folder / "data"), "TOY_SCHEDULE": "0 0 0 1 1 *"}


def descendants(pid: int) -> set[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def all_gone(pids: set[int], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@dataclass
class Copy:
    """A started copy, the processes below it, and where it answers."""

    process: subprocess.Popen[str]
    output: Path
    environment: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://localhost:{self.environment['PORT']}"

    def children(self) -> dict[str, int]:
        """The host and Azurite, by name."""
        named = {}
        for pid in descendants(self.process.pid):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            named["azurite" if b"azurite.js" in command else "host" if b"local.host" in command else "other"] = pid
        return named


@contextlib.contextmanager
def started(command: list[str], folder: Path, **options: bool) -> Iterator[Copy]:
    variables = environment(folder)
    output = folder / "output"
    with output.open("w") as stream:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            text=True,
            **options,
        )
    copy = Copy(process, output, variables)
    try:
        deadline = time.monotonic() + START
        while "Press Ctrl-C to stop." not in output.read_text():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.05)
        yield copy
    finally:
        below = descendants(process.pid)
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            process.wait()
        assert all_gone(below)


SUPERVISOR = [sys.executable, "-m", "local", "--app", str(TOY_APP)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything(tmp_path: Path, number: signal.Signals) -> None:
    with started(SUPERVISOR, tmp_path) as copy:
        assert httpx.get(f"{copy.url}/items/7", trust_env=False).status_code == 200
        below = descendants(copy.process.pid)
        assert len(below) >= 2
        copy.process.send_signal(number)
        assert copy.process.wait(20) == 0
        assert all_gone(below, 0.5)


def test_an_interrupt_of_the_whole_group_stops_everything(tmp_path: Path) -> None:
    with started(SUPERVISOR, tmp_path, start_new_session=True) as copy:
        below = descendants(copy.process.pid)
        os.killpg(copy.process.pid, signal.SIGINT)
        assert copy.process.wait(20) == 0
        assert all_gone(below, 0.5)


def test_a_background_job_of_a_script_can_be_interrupted(tmp_path: Path) -> None:
    # Such a shell has SIGINT ignored for its background jobs, and they inherit that.
    with started([sys.executable, "-c", _IGNORING, *SUPERVISOR], tmp_path) as copy:
        below = descendants(copy.process.pid)
        copy.process.send_signal(signal.SIGINT)
        assert copy.process.wait(20) == 0
        assert all_gone(below, 0.5)


_IGNORING = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_that_only_make_gets_stops_everything(tmp_path: Path, number: signal.Signals) -> None:
    makefile = tmp_path / "Makefile"
    makefile.write_text(f"run:\n\t@exec {' '.join(SUPERVISOR)} --with-parent\n")
    with started(["make", "-f", str(makefile), "run"], tmp_path) as copy:
        below = descendants(copy.process.pid)
        copy.process.send_signal(number)
        copy.process.wait(20)
        assert all_gone(below)


def test_killing_the_supervisor_takes_azurite_and_the_host_along_without_loss(tmp_path: Path) -> None:
    with started(SUPERVISOR, tmp_path) as copy:
        below = descendants(copy.process.pid)
        ports = StoragePorts(*(int(copy.environment[f"AZURITE_{name}_PORT"]) for name in ("BLOB", "QUEUE", "TABLE")))
        with TableServiceClient.from_connection_string(ports.connection_string()) as service:
            service.create_table("kept").create_entity(ENTITY)
        copy.process.kill()
        copy.process.wait()
        assert all_gone(below)
    assert_kept(tmp_path / "data")


@pytest.mark.parametrize(
    ("victim", "sentence"),
    [("azurite", "Azurite ended by itself"), ("host", "The Functions host ended by itself with exit code -9.")],
)
def test_when_one_part_dies_the_rest_ends_with_one_sentence(tmp_path: Path, victim: str, sentence: str) -> None:
    with started(SUPERVISOR, tmp_path) as copy:
        below = descendants(copy.process.pid)
        os.kill(copy.children()[victim], signal.SIGKILL)
        assert copy.process.wait(20) == 1
        assert all_gone(below, 0.5)
        assert sentence in copy.output.read_text().splitlines()[-1]


def test_data_outlives_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with running(folder) as azurite, TableServiceClient.from_connection_string(azurite.connection_string) as service:
        service.create_table("kept").create_entity(ENTITY)
    assert_kept(folder)


def assert_kept(folder: Path) -> None:
    with running(folder) as azurite, TableServiceClient.from_connection_string(azurite.connection_string) as service:
        assert service.get_table_client("kept").get_entity("a", "b")["Value"] == 1


def run(variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(SUPERVISOR, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("variable", ["PORT", "AZURITE_BLOB_PORT", "AZURITE_QUEUE_PORT", "AZURITE_TABLE_PORT"])
def test_a_taken_port_is_one_sentence_before_anything_starts(tmp_path: Path, variable: str) -> None:
    variables = environment(tmp_path)
    with socket.create_server(("127.0.0.1", int(variables[variable]))):
        done = run(variables)
    assert done.returncode == 1
    assert done.stderr == (
        f"Port {variables[variable]} is already in use: "
        f"stop the program that uses it, or set {variable} to another port.\n"
    )
    assert not (tmp_path / "data").exists()


def test_a_data_folder_in_use_is_one_sentence(tmp_path: Path) -> None:
    with started(SUPERVISOR, tmp_path) as copy:
        done = run(environment(tmp_path))
        assert done.returncode == 1
        assert done.stderr == (
            f"The data folder {copy.environment['DATA_DIR']} is in use by another running copy: "
            "stop it, or set DATA_DIR to another folder.\n"
        )


def test_two_copies_run_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with started(SUPERVISOR, tmp_path / "one") as one, started(SUPERVISOR, tmp_path / "two") as two:
        for copy in (one, two):
            assert httpx.get(f"{copy.url}/items/7", trust_env=False).status_code == 200


def test_azurite_that_finds_its_port_taken_says_so_in_the_same_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            Azurite(tmp_path, StoragePorts(0, port, 0)) as azurite,
            pytest.raises(
                LocalError, match=f"^Port {port} is already in use: .* set AZURITE_QUEUE_PORT to another port"
            ),
        ):
            azurite.wait_ready()
