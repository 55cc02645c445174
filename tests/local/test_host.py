"""The local host, run as a process, with the toy app."""

import asyncio
import itertools
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.settings import ROOT
from tests.local.hosting import TOY_APP, RunningHost, running_host

MIB = 1024 * 1024
NEVER = "0 0 0 1 1 *"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    log = tmp_path_factory.mktemp("host") / "log"
    with running_host({"TOY_SCHEDULE": NEVER, "TOY_SETTING": "set"}, log, TOY_APP) as started:
        yield started


@pytest.fixture
def client(host: RunningHost) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=host.url, timeout=60, trust_env=False) as opened:
        yield opened


def state(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/state").json()
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize(
    ("path", "function", "parameters"),
    [
        ("/items/special", "special", {}),
        ("/items/7", "item", {"item": "7"}),
        ("/v2/items/7/parts", "parts", {"version": "v2", "item": "7"}),
        ("/v234/items/7/parts", "everything_else", {"rest": "v234/items/7/parts"}),
        ("/elsewhere", "everything_else", {"rest": "elsewhere"}),
    ],
)
def test_the_most_specific_function_answers(
    client: httpx.Client, path: str, function: str, parameters: dict[str, str]
) -> None:
    assert client.get(path).json() == {"function": function, "parameters": parameters}


def test_each_method_has_its_own_function(client: httpx.Client) -> None:
    assert client.delete("/items/7").status_code == 204
    assert client.head("/items/special").status_code == 200


@pytest.mark.parametrize(("method", "path"), [("POST", "/elsewhere"), ("PUT", "/items/7"), ("HEAD", "/items/7")])
def test_an_unknown_path_and_a_method_without_a_function_are_not_found(
    client: httpx.Client, method: str, path: str
) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.content) == (404, b"")


def test_the_app_runs_in_its_folder_with_its_settings(client: httpx.Client) -> None:
    found = state(client)
    assert (found["folder"], found["setting"]) == (str(TOY_APP), "set")


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
def test_a_host_header_of_this_machine_without_its_port_is_completed(
    host: RunningHost, client: httpx.Client, name: str
) -> None:
    found = client.get("/state", headers={"Host": name}).json()
    assert found["host"] == f"{name}:{host.port}"


@pytest.mark.parametrize("name", ["localhost:1234", "example.org", "127.0.0.1:80"])
def test_any_other_host_header_is_left_as_it_is(client: httpx.Client, name: str) -> None:
    assert client.get("/state", headers={"Host": name}).json()["host"] == name


def test_localhost_answers_over_every_loopback_address(host: RunningHost) -> None:
    addresses = ["127.0.0.1"]
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        addresses.append("[::1]")
    except OSError:
        pass
    for address in addresses:
        answer = httpx.get(f"http://{address}:{host.port}/items/7", trust_env=False)
        assert answer.status_code == 200


def test_head_is_answered_by_a_function_that_declares_it_and_without_the_body(host: RunningHost) -> None:
    with socket.create_connection(("127.0.0.1", host.port)) as connection:
        head = b"HEAD /download?size=3000000 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        connection.sendall(head + b"GET /items/7 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    first, second = received.split(b"HTTP/1.1 200")[1:]
    assert b"content-length: 3000000\r\n" in first
    assert first.endswith(b"\r\n\r\n")
    assert second.endswith(b'{"function":"item","parameters":{"item":"7"}}')


def test_an_exception_is_an_empty_500_and_one_log_entry_without_the_request(
    host: RunningHost, client: httpx.Client
) -> None:
    answer = client.post("/fail?name=secret-in-the-url", content=b"secret-in-the-body")
    assert (answer.status_code, answer.content) == (500, b"")
    log = host.log.read_text()
    assert log.count("function fail failed") == 1
    assert log.count("the reason for the log") == 2  # the line of code in the traceback, and the message
    assert "secret" not in log


def test_a_function_that_returns_nothing_is_a_500(client: httpx.Client) -> None:
    assert client.get("/nothing").status_code == 500


def test_nothing_is_kept_of_an_invocation_after_its_response(client: httpx.Client) -> None:
    for _ in range(20):
        client.get("/items/7")
        client.post("/fail", content=b"")
    assert state(client)["contexts"] == 1  # that of the call that asks


def test_bodies_stream_both_ways_in_bounded_memory(client: httpx.Client) -> None:
    client.post("/upload", content=itertools.repeat(bytes(MIB), 8))
    before = state(client)["peak"]
    assert client.post("/upload", content=itertools.repeat(bytes(MIB), 256)).json() == {"received": 256 * MIB}
    with client.stream("GET", "/download", params={"size": 256 * MIB}) as answer:
        assert sum(len(chunk) for chunk in answer.iter_raw()) == 256 * MIB
    assert state(client)["peak"] - before < 24 * MIB


def test_a_client_that_leaves_during_its_upload_reaches_the_function(host: RunningHost, client: httpx.Client) -> None:
    with socket.create_connection(("127.0.0.1", host.port)) as connection:
        connection.sendall(b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf")
        time.sleep(0.2)
    assert wait_for(lambda: "upload: ClientDisconnect" in state(client)["events"])


def test_a_client_that_leaves_during_its_download_ends_it(client: httpx.Client) -> None:
    with client.stream("GET", "/download", params={"size": 2**40}) as answer:
        next(answer.iter_raw())
    assert wait_for(lambda: "download: cancelled" in state(client)["events"])


def test_requests_are_answered_side_by_side(host: RunningHost) -> None:
    async def all_at_once() -> float:
        async with httpx.AsyncClient(base_url=host.url, trust_env=False) as client:
            started = time.monotonic()
            await asyncio.gather(*(client.get("/slow", params={"seconds": 0.5}) for _ in range(10)))
            return time.monotonic() - started

    assert asyncio.run(all_at_once()) < 3


def test_timers_run_on_schedule_and_never_twice_at_once(tmp_path: Path) -> None:
    with (
        running_host({"TOY_SCHEDULE": "* * * * * *"}, tmp_path / "log", TOY_APP) as host,
        httpx.Client(base_url=host.url, trust_env=False) as client,
    ):
        assert wait_for(lambda: state(client)["events"].count("timer ends") >= 2)
        events = state(client)["events"]
    assert events[0] == "timer starts, past due: False, next known: True"
    assert all(first != second for first, second in itertools.pairwise(events))


def test_a_request_in_flight_gets_time_to_end_and_the_host_then_stops(tmp_path: Path) -> None:
    with running_host({"TOY_SCHEDULE": NEVER}, tmp_path / "log", TOY_APP) as host:
        with socket.create_connection(("127.0.0.1", host.port)) as connection:
            connection.sendall(b"GET /slow?seconds=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            time.sleep(0.3)
            host.process.terminate()
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert host.process.wait(10) == 0


def run_host(app: Path, port: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "local.host", "--port", str(port), "--app", str(app)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_an_app_that_cannot_be_imported_is_an_error_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "function_app.py").write_text("import a_module_that_is_missing\n")
    (tmp_path / "host.json").write_text("{}")
    done = run_host(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("The function app cannot be loaded.")
    assert "a_module_that_is_missing" in done.stderr


def test_a_folder_without_an_app_is_an_error(tmp_path: Path) -> None:
    assert run_host(tmp_path).stderr == f"There is no function_app.py in {tmp_path}.\n"


def test_a_taken_port_is_one_sentence(host: RunningHost) -> None:
    done = run_host(TOY_APP, host.port)
    assert done.returncode == 1
    assert done.stderr == (
        f"Port {host.port} is already in use: stop the program that uses it, or set PORT to another port.\n"
    )
