"""Starts and stops Azurite, Microsoft's emulator of blob, queue and table storage; used by `make run` and by the tests.

Facts this file rests on:
- Azurite keeps its tables in memory and writes them to its folder on a timer and when it is told to end. So it is ended
  with SIGTERM and given time, and killed only when it does not react.
- A process that is killed cannot end its children. Azurite's standard input is therefore a pipe that this process holds
  open: however this process ends, the system closes the pipe, and the JavaScript in `_WATCH` ends Azurite.
- Two copies on one folder would overwrite each other's tables. The lock on the folder belongs to Azurite as much as to
  this process, because Azurite inherits the locked file: it is free only when both are gone.


Local development needs neither TLS nor tokens; with a `Guard` there are both, for the tests.
"""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

from local.ports import port_taken
from local.settings import ACCOUNT, ROOT, LocalError, StoragePorts

try:
    import fcntl
except ImportError:  # Windows has no such locks; there the ports are the only guard
    fcntl = None  # type: ignore[assignment]

SCRIPT = ROOT / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"

START_SECONDS = 60.0
STOP_SECONDS = 20.0

#: Runs inside Azurite. It reacts to one SIGTERM and dies of a second one, so the pipe's end calls the handler at most
#: once; before there is a handler there is nothing to save. `unref` lets Azurite end while the pipe is open.
_WATCH = """
let handled = false;
process.on("newListener", (name) => { handled ||= name === "SIGTERM"; });
process.stdin.on("end", () => process.emit("SIGTERM") || handled || process.exit(1)).on("error", () => {}).resume();
process.stdin.unref();
"""
_LISTENING = re.compile(r"Azurite (Blob|Queue|Table) service is successfully listening at https?://127\.0\.0\.1:(\d+)")
_VARIABLES = {"Blob": "AZURITE_BLOB_PORT", "Queue": "AZURITE_QUEUE_PORT", "Table": "AZURITE_TABLE_PORT"}


@dataclass(frozen=True, slots=True)
class Guard:
    """What makes Azurite speak TLS, take the tokens of Microsoft Entra and refuse the key that everybody knows.

    Of a token only the issuer, the audience and the times are looked at, not the signature, nor what it allows.
    """

    #: PEM files.
    certificate: Path
    private_key: Path
    #: The key of the account, in base64; with `--oauth` alone Azurite would go on taking the published one.
    account_key: str
    #: Where every request is written with its headers, the tokens among them.
    log: Path

    def arguments(self) -> list[str]:
        """What Azurite's command line says of it."""
        files = ["--cert", str(self.certificate), "--key", str(self.private_key), "--debug", str(self.log)]
        return ["--oauth", "basic", *files]


class Azurite:
    """One running Azurite. Leaving the context ends it and waits until its data is on disk."""

    def __init__(
        self, folder: Path | None = None, ports: StoragePorts | None = None, guard: Guard | None = None
    ) -> None:
        """Starts the process; `wait_ready` says when it answers.

        Without a folder everything stays in memory; without ports the system chooses them. Raises LocalError when
        Node.js or Azurite is not installed or another copy uses the folder.
        """
        node = shutil.which("node")
        if node is None:
            raise LocalError("Node.js 20 or later is needed for Azurite, but there is no `node` on the PATH.")
        if not SCRIPT.is_file():
            raise LocalError("Azurite is not installed: run `make setup`.")
        self.ports = ports or StoragePorts(0, 0, 0)
        self._scheme = "https" if guard else "http"
        self._lock = _lock(folder) if folder else None
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        place = ["--location", str(folder.resolve())] if folder else ["--inMemoryPersistence"]
        self.process = subprocess.Popen(
            [
                *(node, "--import", f"data:text/javascript,{quote(_WATCH)}", str(SCRIPT)),
                *("--silent", "--disableTelemetry", "--skipApiVersionCheck", *place),
                *("--blobHost", "127.0.0.1", "--blobPort", str(self.ports.blob)),
                *("--queueHost", "127.0.0.1", "--queuePort", str(self.ports.queue)),
                *("--tableHost", "127.0.0.1", "--tablePort", str(self.ports.table)),
                *(guard.arguments() if guard else ()),
            ],
            # The key must not show in the list of processes.
            env={**os.environ, **({"AZURITE_ACCOUNTS": f"{ACCOUNT}:{guard.account_key}"} if guard else {})},
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            pass_fds=[self._lock.fileno()] if self._lock else [],
            # Ctrl-C reaches every process of the terminal's group; Azurite must end after the host, so it gets its own.
            process_group=0,
        )

    @property
    def connection_string(self) -> str:
        return self.ports.connection_string()

    @property
    def blob_endpoint(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.ports.blob}/{ACCOUNT}"

    @property
    def table_endpoint(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.ports.table}/{ACCOUNT}"

    def wait_ready(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Returns when all three services listen, or early when `cancelled` says so. Raises LocalError if it failed."""
        deadline = time.monotonic() + START_SECONDS
        while not cancelled():
            found = {name: int(port) for name, port in _LISTENING.findall(self._said())}
            if len(found) == 3:
                self.ports = StoragePorts(found["Blob"], found["Queue"], found["Table"])
                return
            if self.process.poll() is not None:
                raise LocalError(self.failure())
            if time.monotonic() > deadline:
                raise LocalError(f"Azurite did not start within {START_SECONDS:.0f} s.")
            time.sleep(0.05)

    def failure(self) -> str:
        """Why Azurite ended by itself, as one sentence."""
        said = self._said()
        if "EADDRINUSE" in said:
            taken = re.search(r"EADDRINUSE\D*(?:\d+\.){3}\d+:(\d+)", said)
            port = int(taken[1]) if taken else 0
            names = {self.ports.blob: "Blob", self.ports.queue: "Queue", self.ports.table: "Table"}
            return port_taken(port, _VARIABLES[names.get(port, "Blob")])
        lines = said.strip().splitlines()
        last = f" Its last words: {lines[-1].strip()}" if lines else ""
        return f"Azurite ended by itself with exit code {self.process.poll()}.{last}"

    def stop(self) -> None:
        """Ends Azurite and waits; does nothing the second time."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        with contextlib.suppress(OSError):
            if self.process.stdin:
                self.process.stdin.close()
        self._output.close()
        if self._lock:
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _said(self) -> str:
        # Azurite writes through the same open file: pread leaves its position alone, seek would not.
        return os.pread(self._output.fileno(), 65536, 0).decode("utf-8", "replace")


@contextlib.contextmanager
def running(
    folder: Path | None = None, ports: StoragePorts | None = None, guard: Guard | None = None
) -> Iterator[Azurite]:
    """An Azurite that answers, for the length of the block."""
    with Azurite(folder, ports, guard) as azurite:
        azurite.wait_ready()
        yield azurite


def _lock(folder: Path) -> IO[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise LocalError(f"The data folder {folder} cannot be used: {error.strerror}.") from None
    if fcntl is not None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise LocalError(
                f"The data folder {folder} is in use by another running copy: "
                "stop it, or set DATA_DIR to another folder."
            ) from None
    return lock
