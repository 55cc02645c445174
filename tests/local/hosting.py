"""Starts a local host as a process of its own, as the end-to-end tests do, and ends it again."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from local.settings import ROOT

TOY_APP = Path(__file__).parent / "toy_app"


@dataclass
class RunningHost:
    """A host that answers at `url`."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@contextlib.contextmanager
def running_host(
    environment: Mapping[str, str], log: Path, app: Path = ROOT, arguments: Sequence[str | Path] = ()
) -> Iterator[RunningHost]:
    """A host for `app` on a free port, for the length of the block; all it prints goes to `log`."""
    # Two write to it: each of them at its end.
    with log.open("a") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "local.host", "--port", "0", "--app", str(app), *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert process.stdout is not None
        # A host that hangs would make the reading of its first line hang too.
        guard = threading.Timer(60, process.kill)
        guard.start()
        printed: threading.Thread | None = None
        try:
            line = process.stdout.readline()
            assert line.startswith("listening on "), log.read_text()
            guard.cancel()
            # What the service prints must be taken from it, or it would wait for that with everything else.
            printed = threading.Thread(target=_pass_on, args=(process.stdout, errors), daemon=True)
            printed.start()
            yield RunningHost(process, line.removeprefix("listening on ").strip(), log)
        finally:
            guard.cancel()
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            if printed is not None:
                printed.join(5)
            process.stdout.close()


def _pass_on(printed: IO[str], log: IO[str]) -> None:
    for line in printed:
        log.write(line)
        log.flush()
