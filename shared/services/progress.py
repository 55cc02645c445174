"""What long work says of itself while it runs; who listens decides what becomes of it."""

from collections import Counter
from enum import StrEnum
from typing import Protocol


class Progress(Protocol):
    """Somebody who is told how far long work has come."""

    def begin(self, what: str, total: int | None = None) -> None:
        """Something begins that has so many steps, or nobody knows how many."""
        ...

    def advance(self, steps: int = 1) -> None:
        """Some steps of it are done."""
        ...


class Details(Protocol):
    """Somebody who is told which instance, study or blob was meant; UIDs go nowhere else."""

    def add(self, kind: str, *names: str) -> None:
        """Something of a kind was found, and this is what it is called."""
        ...


class Tally[K: StrEnum]:
    """Counts what is found, by kind, and passes on what it is called."""

    def __init__(self, details: Details) -> None:
        self.counts: Counter[K] = Counter()
        self._details = details

    def add(self, kind: K, *names: str, count: int = 1) -> None:
        """Count something of a kind, and say what it is called where that is worth telling."""
        self.counts[kind] += count
        if names and count:
            self._details.add(kind.name.lower().replace("_", "-"), *names)
