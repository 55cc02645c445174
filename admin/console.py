"""What a command shows: how far it has come, on standard error, and at the end what became of it, as a table.

On a terminal one line is drawn again and again; anywhere else, in a log, a line is written now and then. Numbers and
kinds only: file names and UIDs go to the file that `--details` names, and nowhere else.
"""

import os
import sys
import time
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TextIO

#: Seconds between two drawings on a terminal, and between two lines elsewhere.
DRAWN_EVERY = 0.1
WRITTEN_EVERY = 15.0
_WIDTH = 24


class ProgressBar:
    """Says how far something has come; see `shared.services.progress.Progress`. Use it as a context manager."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._redraws = self._stream.isatty()
        self._what = ""
        self._total: int | None = None
        self._done = 0
        self._begun = self._shown = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def begin(self, what: str, total: int | None = None) -> None:
        """Something begins that has so many steps, or nobody knows how many."""
        self._end()
        self._what, self._total, self._done = what, total, 0
        self._begun = self._shown = time.monotonic()

    def advance(self, steps: int = 1) -> None:
        """Some steps of it are done."""
        self._done += steps
        now = time.monotonic()
        if now - self._shown >= (DRAWN_EVERY if self._redraws else WRITTEN_EVERY):
            self._shown = now
            self._show(now)

    def _end(self) -> None:
        if self._what:
            self._show(time.monotonic())
            if self._redraws:
                self._stream.write("\n")
            self._stream.flush()
            self._what = ""

    def _show(self, now: float) -> None:
        line = progress_line(self._what, self._done, self._total, now - self._begun)
        self._stream.write(f"\r\x1b[K{line}" if self._redraws else f"{line}\n")
        self._stream.flush()


def progress_line(what: str, done: int, total: int | None, seconds: float) -> str:
    """How far something has come after some seconds, and how long it is going to take."""
    rate = done / seconds if seconds else 0.0
    if not total:
        return f"{what}: {done:,}, {rate:,.0f}/s"
    part = min(1.0, done / total)
    bar = "#" * int(part * _WIDTH)
    left = f", {_clock(seconds / part - seconds)} left" if 0 < part < 1 else f" in {_clock(seconds)}"
    return f"{what}: [{bar:.<{_WIDTH}}] {done:,} of {total:,} ({part:.0%}), {rate:,.0f}/s{left}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def print_counts[K: StrEnum](title: str, counts: Mapping[K, int], kinds: Iterable[K]) -> None:
    """A table of how many there were of each kind, those of none left out."""
    rows = [(str(kind), f"{counts[kind]:,}") for kind in kinds if counts.get(kind)]
    width = max((len(number) for _, number in rows), default=0)
    print(title)
    for what, number in rows:
        print(f"  {number:>{width}}  {what}")
    if not rows:
        print("  nothing")


class DetailsFile:
    """Writes what was found to a file, tab-separated, a line each; nowhere if there is no file."""

    def __init__(self, path: Path | None, *, add: bool = False) -> None:
        """`add`: to what the file holds already. Raises OSError when it cannot be written."""
        self._file: IO[str] | None = None
        if path is not None:
            # Names of files need not be text.
            self._file = open(  # noqa: SIM115 - closed by __exit__
                path,
                "a" if add else "w",
                buffering=1,  # lines: whoever is stopped at once has told what he found
                encoding="utf-8",
                errors="surrogateescape",
                newline="\n",
                opener=lambda name, flags: os.open(name, flags, 0o600),  # it identifies patients
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, kind: str, *names: str) -> None:
        """Something of a kind was found, and this is what it is called."""
        if self._file is not None:
            print(kind, *(name.replace("\t", "\\t").replace("\n", "\\n") for name in names), sep="\t", file=self._file)
