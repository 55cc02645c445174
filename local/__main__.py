"""`python -m local`: Azurite and the Functions host together, as `make run` starts them.

Decides the order: nothing is started before every port is known to be free; the host starts when Azurite answers and
ends before it, so that no request loses its storage half-way; Azurite ends last and writes its data. If either ends by
itself the other is ended too, and the exit code is 1. Leaves out restarting what failed.

A signal only sets a flag, which the loops below look at: no child is ever left between being started and being known.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from local.azurite import Azurite
from local.ports import listen, port_taken
from local.settings import GRACE_SECONDS, ROOT, LocalError, LocalSettings, read_settings
from local.viewer import viewer_files

_TICK_SECONDS = 0.1

_READY = """\

The DICOMweb service is at   http://localhost:{port}
Its blobs and tables are at  http://127.0.0.1:{blob} and http://127.0.0.1:{table}, kept in {folder}

Try it:
  curl -X POST http://localhost:{port}/v2/studies -H "Accept: application/dicom+json" -H "Content-Type: application/dicom" --data-binary @file.dcm
  curl -H "Accept: application/dicom+json" http://localhost:{port}/v2/studies
  curl -H "Accept: application/dicom+json" http://localhost:{port}/v2/studies/STUDY-UID/metadata

Press Ctrl-C to stop.
"""  # noqa: E501

_READY_TO_VIEW = """\

The viewer is at             http://localhost:{port}
It shows what is stored through the service, at http://localhost:{port}/v2, and has a button to upload files.
Blobs and tables are kept in {folder}

Press Ctrl-C to stop.
"""


class Host:
    """The host as a process of its own, which ends when this process does."""

    def __init__(self, folder: Path, port: int, viewer: Path | None) -> None:
        self.ready = threading.Event()
        pages = ["--viewer", str(viewer)] if viewer else []
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "local.host",
                "--port",
                str(port),
                "--app",
                str(folder),
                "--until-stdin-closes",
                *pages,
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C reaches every process of the terminal's group; here this process decides who ends when.
            process_group=0,
        )
        self._relay = threading.Thread(target=self._pass_on, daemon=True)
        self._relay.start()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(GRACE_SECONDS + 3)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._relay.join(1)

    def _pass_on(self) -> None:
        """Everything the host prints goes on to the terminal, except the line that says it is ready."""
        for line in self.process.stdout or ():
            if not self.ready.is_set() and line.startswith("listening on "):
                self.ready.set()
            else:
                sys.stdout.write(line)
                sys.stdout.flush()


def main() -> int:
    """Runs until told to end; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m local", description="Run the service with Azurite on this machine."
    )
    parser.add_argument("--app", type=Path, default=ROOT, help="folder of function_app.py (default: this project)")
    parser.add_argument("--viewer", action="store_true", help="also serve the OHIF viewer, fetched through npm once")
    parser.add_argument("--with-parent", action="store_true", help="also end when the parent ends or is interrupted")
    arguments = parser.parse_args()
    told: list[int] = []
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # `nohup` has SIGHUP ignored, and means it. A shell has SIGINT ignored for every job in its background.
        if number is not None and (name != "SIGHUP" or signal.getsignal(number) != signal.SIG_IGN):
            signal.signal(number, lambda number, _frame: told.append(number))
    interrupted = _watch(os.getppid()) if arguments.with_parent else lambda: False
    try:
        folder = arguments.app.resolve()
        settings = read_settings(folder, os.environ)
        viewer = viewer_files() if arguments.viewer else None
        run(folder, settings, lambda: bool(told) or interrupted(), viewer)
    except LocalError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def run(folder: Path, settings: LocalSettings, told_to_stop: Callable[[], bool], viewer: Path | None = None) -> None:
    """Runs both until told to stop, with the pages in `viewer` if there is one.

    Raises LocalError when one cannot start or ends by itself.
    """
    _check_ports(settings)
    with Azurite(settings.data_dir, settings.storage) as azurite:
        azurite.wait_ready(told_to_stop)
        if told_to_stop():
            return
        host = Host(folder, settings.port, viewer)
        try:
            announced = False
            while not told_to_stop():
                if azurite.process.poll() is not None:
                    raise LocalError(azurite.failure())
                if host.process.poll() is not None:
                    raise LocalError(f"The Functions host ended by itself with exit code {host.process.returncode}.")
                if host.ready.is_set() and not announced:
                    announced = True
                    _check_health(settings.port)
                    ports = {"port": settings.port, "blob": azurite.ports.blob, "table": azurite.ports.table}
                    said = _READY_TO_VIEW if viewer else _READY
                    print(said.format(**ports, folder=settings.data_dir), flush=True)
                time.sleep(_TICK_SECONDS)
        finally:
            host.stop()


def _check_health(port: int) -> None:
    """Ask the service how it is. It then makes what is missing in storage, before anybody looks for it there."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health/check", timeout=10):
        pass


def _check_ports(settings: LocalSettings) -> None:
    """Raises LocalError for the first port that something listens on already, or that two variables share."""
    storage = settings.storage
    wanted = {
        "PORT": settings.port,
        "AZURITE_BLOB_PORT": storage.blob,
        "AZURITE_QUEUE_PORT": storage.queue,
        "AZURITE_TABLE_PORT": storage.table,
    }
    seen: dict[int, str] = {}
    for variable, port in wanted.items():
        if port == 0:
            raise LocalError(f"{variable} must name a port, for 0 would be another one after every start.")
        if port in seen:
            raise LocalError(f"{seen[port]} and {variable} are both {port}: set one of them to another port.")
        seen[port] = variable
        try:
            probes = listen(port)
        except LocalError:
            raise LocalError(port_taken(port, variable)) from None
        for probe in probes:
            probe.close()


def _watch(pid: int) -> Callable[[], bool]:
    """Whether the parent, of process id `pid`, has ended or has been interrupted.

    `make` does not pass on a SIGINT that it alone receives: it sets the signal back to its default and waits for us. On
    Linux that is visible in /proc, as a SIGINT that was caught before and is not any more.
    """
    caught_before = _catches_interrupt(pid)

    def ended() -> bool:
        if os.getppid() != pid:
            return True
        return bool(caught_before) and _catches_interrupt(pid) is False

    return ended


def _catches_interrupt(pid: int) -> bool | None:
    """Whether the process has a handler for SIGINT; None where that cannot be seen."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    except (OSError, StopIteration):
        return None
    return bool(int(caught.split()[1], 16) >> (signal.SIGINT - 1) & 1)


if __name__ == "__main__":
    sys.exit(main())
