"""What a stored study, a viewed study and a month cost: storage calls times list prices, as docs/costs.md shows it.

Nothing is measured and nobody is asked: the calls are those of docs/storage-format.md ("Storage calls"), the prices
are parameters, and so is everything that had to be assumed. All money is US dollars before tax and discounts.

Left out, because they depend on choices and not on use: private endpoints, copies in other regions, the cool tier, and
what soft delete keeps of deleted blobs.
"""

import argparse
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

from shared.services.store import COMMIT_AFTER
from shared.storage.blobs import BLOCK, PIECE
from shared.storage.commit import BATCH

GB = 1_000_000_000
#: Rows that one call of a query brings, and text rows that one transaction writes (docs/storage-format.md).
PAGE, TEXT_ROWS_AT_ONCE = 1000, 99
#: Hours of a month as Azure bills it.
HOURS = 730
#: Lines of ours in the log: of a request whose answer is at hand, of one whose answer streams, of a timer's run.
LINES, LINES_STREAMED, LINES_JOB = 2, 3, 1


class Meter(Enum):
    """What is billed. The value is what a table calls it."""

    BLOB_WRITES = "blob writes"
    BLOB_READS = "blob reads"
    TABLE_CALLS = "table calls"
    EXECUTIONS = "executions"
    GB_SECONDS = "compute, GB-seconds"
    SENT = "sent to the internet, GB"
    LOGGED = "logs, GB"
    BLOBS_KEPT = "blobs kept, GB-months"
    ROWS_KEPT = "rows kept, GB-months"


type Usage = Mapping[Meter, float]


def option[T](default: T, text: str) -> T:
    """A field of a dataclass below: its default and what --help says of it."""
    value: T = field(default=default, metadata={"text": text})
    return value


@dataclass(frozen=True, slots=True)
class Prices:
    """List prices, and what of each is free in a month. Where they come from is said in docs/costs.md."""

    blob_writes: float = option(0.05, "10,000 writes to hot, locally redundant blobs")
    blob_reads: float = option(0.004, "10,000 reads of them")
    table_calls: float = option(0.00036, "10,000 calls to tables, a transaction being one")
    executions: float = option(0.40, "1,000,000 executions of functions")
    gb_seconds: float = option(0.000026, "GB-second of an instance on demand")
    sent: float = option(0.087, "GB sent to the internet")
    logged: float = option(2.30, "GB taken by Log Analytics")
    blobs_kept: float = option(0.0184, "GB of hot, locally redundant blobs for a month")
    rows_kept: float = option(0.045, "GB of locally redundant tables for a month")
    always_ready: float = option(0.000004, "GB-second of an instance that is always ready and idle")
    free_executions: float = option(250_000, "executions free in a month")
    free_gb_seconds: float = option(100_000, "GB-seconds on demand free in a month")
    free_sent: float = option(100, "GB sent free in a month")
    free_logged: float = option(5, "GB of logs free in a month")

    def of(self, meter: Meter) -> float:
        """The price of one."""
        each: float = getattr(self, meter.name.lower())
        return each / _UNITS.get(meter, 1)

    def free(self, meter: Meter) -> float:
        """How many are free in a month."""
        free: float = getattr(self, f"free_{meter.name.lower()}", 0)
        return free


#: How many of a thing its price is for, where that is not one.
_UNITS = {
    Meter.BLOB_WRITES: 10_000,
    Meter.BLOB_READS: 10_000,
    Meter.TABLE_CALLS: 10_000,
    Meter.EXECUTIONS: 1_000_000,
}


@dataclass(frozen=True, slots=True)
class Shape:
    """A study, and how much of it and of others is asked for in a month."""

    slices: int = option(500, "instances of a study")
    bytes_each: int = option(525_000, "bytes of an instance")
    series: int = option(1, "series of a study")
    results: int = option(10, "studies found by the search before a study is viewed")
    studies: int = option(400, "studies stored in a busy month")
    views: int = option(2, "times each of them is viewed, slice by slice")
    months: int = option(12, "months of such studies that are kept")

    @property
    def bytes(self) -> int:
        """Bytes of a study."""
        return self.slices * self.bytes_each


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What had to be assumed of the service and the platform."""

    memory_gb: float = option(2, "GB of an instance of the app")
    megabits: float = option(100, "Mbit/s between a client and the service; an instance is busy while they last")
    store_seconds: float = option(0.0098, "busy seconds to store an instance, if the network takes no longer")
    frame_seconds: float = option(0.0081, "busy seconds to retrieve a frame by itself, if the network takes no longer")
    part_seconds: float = option(0.0036, "busy seconds to retrieve an instance among others, likewise")
    least_seconds: float = option(1, "seconds that a busy period counts at least")
    buckets: int = option(4, "INDEX_BUCKETS")
    text_rows: int = option(85, "text rows of a study")
    study_bytes: int = option(30_000, "bytes of the rows of a study and its series in the table")
    row_bytes: int = option(5_000, "bytes of the rows of an instance in the table")
    line_bytes: int = option(1_000, "bytes of a line as Log Analytics bills it")
    host_lines: int = option(3, "lines that the Functions host itself logs of an execution")
    metric_lines: int = option(840, "lines in an hour by which storage reports its metrics")
    metric_bytes: int = option(500, "bytes of such a line as Log Analytics bills it")
    sweeps: int = option(12, "runs of SWEEP_SCHEDULE in an hour")
    host_writes: int = option(1, "blob writes by which the host notes that a timer ran")
    host_reads: int = option(4, "blob reads and leases it takes for that")


def total(usages: Iterable[Usage]) -> Usage:
    """Several usages together."""
    sums: dict[Meter, float] = {}
    for usage in usages:
        for meter, amount in usage.items():
            sums[meter] = sums.get(meter, 0) + amount
    return sums


def times(number: float, usage: Usage) -> Usage:
    """The same several times."""
    return {meter: number * amount for meter, amount in usage.items()}


def cost(usage: Usage, prices: Prices, *, free: bool = False) -> float:
    """Dollars; `free` takes off what a month has free."""
    return sum(
        max(0, amount - (prices.free(meter) if free else 0)) * prices.of(meter) for meter, amount in usage.items()
    )


# What is done


def stored(shape: Shape, assumed: Assumptions, at_once: int) -> Usage:
    """A new study is stored, `at_once` instances in a request.

    Requests that arrive together share transactions; here none do.
    """
    requests = [min(at_once, shape.slices - begun) for begun in range(0, shape.slices, at_once)]
    commits = [min(COMMIT_AFTER, number - done) for number in requests for done in range(0, number, COMMIT_AFTER)]
    transactions = sum(math.ceil(number / BATCH) for number in commits)
    # The first transaction holds fewer instances, for the study's and the series' search rows go with it.
    transactions += 1 + math.ceil(assumed.text_rows / TEXT_ROWS_AT_ONCE)
    blocks = math.ceil(shape.bytes_each / BLOCK)
    seconds = max(shape.slices * assumed.store_seconds, _seconds_on_the_way(shape.bytes, assumed))
    return {
        Meter.BLOB_WRITES: shape.slices * (1 if blocks == 1 else blocks + 1),
        Meter.TABLE_CALLS: transactions + len(commits) * (1 + shape.series),
        **_run(len(requests), len(requests) * LINES, seconds, assumed),
    }


def viewed(shape: Shape, assumed: Assumptions) -> Usage:
    """A viewer searches, reads the metadata of a study, and then each slice by itself."""
    requests = 2 + shape.slices
    lines = LINES + LINES_STREAMED * (1 + shape.slices)
    searching = assumed.buckets + shape.results
    metadata = 1 + math.ceil(shape.slices / PAGE)
    seconds = max(shape.slices * assumed.frame_seconds, _seconds_on_the_way(shape.bytes, assumed))
    return {
        Meter.BLOB_READS: shape.slices * math.ceil(shape.bytes_each / PIECE),
        Meter.TABLE_CALLS: searching + metadata + shape.slices,
        Meter.SENT: shape.bytes / GB,
        **_run(requests, lines, seconds, assumed),
    }


def fetched(shape: Shape, assumed: Assumptions) -> Usage:
    """A study is retrieved as a whole, as stored, in one request."""
    seconds = max(shape.slices * assumed.part_seconds, _seconds_on_the_way(shape.bytes, assumed))
    return {
        Meter.BLOB_READS: shape.slices * math.ceil(shape.bytes_each / PIECE),
        Meter.TABLE_CALLS: math.ceil(shape.slices / PAGE),
        Meter.SENT: shape.bytes / GB,
        **_run(1, LINES_STREAMED, seconds, assumed),
    }


def kept(shape: Shape, assumed: Assumptions) -> Usage:
    """A study lies there for a month."""
    rows = assumed.study_bytes + shape.slices * assumed.row_bytes
    return {Meter.BLOBS_KEPT: shape.bytes / GB, Meter.ROWS_KEPT: rows / GB}


def idle(assumed: Assumptions) -> Usage:
    """A month in which nobody asks for anything: only the timer of the sweep runs, and finds nothing."""
    runs = assumed.sweeps * HOURS
    sweeping = {
        Meter.BLOB_WRITES: runs * assumed.host_writes,
        Meter.BLOB_READS: runs * assumed.host_reads,
        Meter.TABLE_CALLS: runs * 2 * assumed.buckets,
        **_run(runs, runs * LINES_JOB, runs * assumed.least_seconds, assumed),
    }
    return total([sweeping, {Meter.LOGGED: assumed.metric_lines * HOURS * assumed.metric_bytes / GB}])


def busy(shape: Shape, assumed: Assumptions) -> Usage:
    """The last of `shape.months` months in which studies are stored, viewed and kept."""
    return total(
        [
            idle(assumed),
            times(shape.studies, stored(shape, assumed, 1)),
            times(shape.studies * shape.views, viewed(shape, assumed)),
            times(shape.studies * shape.months, kept(shape, assumed)),
        ]
    )


#: Instances that wait where `DICOMWEB_ZONE_REDUNDANT` is on: two for requests, and two for each of the timers.
ZONE_INSTANCES = 2 * (1 + 2)


def always_ready(prices: Prices, assumed: Assumptions) -> float:
    """Dollars a month for one instance that waits."""
    return prices.always_ready * assumed.memory_gb * HOURS * 3600


def _seconds_on_the_way(count: int, assumed: Assumptions) -> float:
    return count * 8 / (assumed.megabits * 1_000_000)


def _run(executions: int, lines: int, seconds: float, assumed: Assumptions) -> Usage:
    return {
        Meter.EXECUTIONS: executions,
        Meter.GB_SECONDS: max(assumed.least_seconds, seconds) * assumed.memory_gb,
        Meter.LOGGED: (lines + executions * assumed.host_lines) * assumed.line_bytes / GB,
    }


# Tables


def tables(prices: Prices, shape: Shape, assumed: Assumptions) -> Iterator[tuple[str, str]]:
    """Heading and Markdown table of each thing that is computed."""
    yield (
        "A stored study",
        _table(
            {
                "one instance a request": stored(shape, assumed, 1),
                "all in one request": stored(shape, assumed, shape.slices),
            },
            prices,
        ),
    )
    yield (
        "A viewed study",
        _table({"slice by slice": viewed(shape, assumed), "as a whole": fetched(shape, assumed)}, prices),
    )
    yield "A study that is kept for a month", _table({"a study": kept(shape, assumed)}, prices)
    yield "A month", _table({"idle": idle(assumed), "busy": busy(shape, assumed)}, prices, free=True)


def _table(columns: Mapping[str, Usage], prices: Prices, *, free: bool = False) -> str:
    """Amount and dollars of every meter, of several usages side by side."""
    used = [meter for meter in Meter if any(meter in usage for usage in columns.values())]
    rows = [["", *(text for name in columns for text in (name, "$"))], ["---", *(["---:"] * 2 * len(columns))]]
    for meter in used:
        row = [meter.value]
        for usage in columns.values():
            amount = usage.get(meter, 0)
            row += [_amount(amount), _dollars(amount * prices.of(meter))]
        rows.append(row)
    rows.append(["**sum**", *(text for usage in columns.values() for text in ("", _bold(cost(usage, prices))))])
    if free:
        sums = [("", _bold(cost(usage, prices, free=True))) for usage in columns.values()]
        rows.append(["**after what is free**", *(text for pair in sums for text in pair)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _amount(amount: float) -> str:
    if amount >= 100 or amount == int(amount):
        return f"{amount:,.0f}"
    return f"{amount:.3g}" if amount >= 1 else f"{amount:.6f}".rstrip("0")


def _dollars(amount: float) -> str:
    if 0 < amount < 0.00001:
        return "less"
    return f"{amount:,.2f}" if amount >= 1 else f"{amount:.5f}"


def _bold(amount: float) -> str:
    return f"**{_dollars(amount)}**"


# The command


def main(arguments: list[str] | None = None) -> None:
    """Read the options and print the tables."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.costs", description=_first_line(__doc__))
    for kind in (Shape, Assumptions, Prices):
        group = options.add_argument_group(kind.__name__.lower(), _first_line(kind.__doc__))
        for each in fields(kind):
            group.add_argument(
                f"--{each.name.replace('_', '-')}",
                type=type(each.default) if each.type is int else float,
                default=each.default,
                metavar="N",
                help=f"{each.metadata['text']} (%(default)s)",
            )
    managed = options.add_argument_group("managed", "Prices of a managed service to compare with; none are known here.")
    managed.add_argument("--managed-month", type=float, metavar="N", help="what it costs in a month, used or not")
    managed.add_argument("--managed-gb", type=float, metavar="N", help="what it takes for a GB kept for a month")
    chosen = vars(options.parse_args(arguments))
    prices, shape, assumed = (_made(kind, chosen) for kind in (Prices, Shape, Assumptions))
    for heading, table in tables(prices, shape, assumed):
        print(f"{heading}\n\n{table}\n")
    waiting = always_ready(prices, assumed)
    print(f"An instance that is always ready costs ${_dollars(waiting)} a month.")
    zones = _dollars(ZONE_INSTANCES * waiting)
    print(f"DICOMWEB_ZONE_REDUNDANT keeps {ZONE_INSTANCES} of them, which cost ${zones} a month.")
    whole = busy(shape, assumed)
    gb = whole[Meter.BLOBS_KEPT]
    print(f"The busy month comes to ${cost(whole, prices, free=True) / gb:.4f} for each GB kept.")
    if chosen["managed_month"] is not None or chosen["managed_gb"] is not None:
        other = (chosen["managed_month"] or 0) + (chosen["managed_gb"] or 0) * gb
        print(f"The managed service comes to ${_dollars(other)} in the busy month, ${other / gb:.4f} for each GB kept.")


def _made(kind: Any, chosen: Mapping[str, Any]) -> Any:
    return kind(**{each.name: chosen[each.name] for each in fields(kind)})


def _first_line(text: str | None) -> str:
    return (text or "").splitlines()[0]


if __name__ == "__main__":
    main()
