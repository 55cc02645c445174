"""Working off backlogs: writing and removing text rows after the commit that made them necessary.

    commit:       ..., insert backlog
    then:         99 text rows, replace backlog (under its ETag)      as often as needed
                  the rest of them, delete backlog (under its ETag)

Whoever finds a backlog may work it off: the process that committed it does so at once, the sweep does what that left
undone. It may be interrupted anywhere, and two may do it at the same time, for every step can be repeated. Who finds
that a commit has changed the backlog gives it up to whoever made that.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from shared.storage import keys
from shared.storage.parallel import in_parallel
from shared.storage.table import MAX_OPERATIONS, Clash, Committed, IndexTable, Operation, Refused, Row, Stale, Unknown
from shared.storage.texts import Backlog, backlog_of

#: Microseconds after which the sweep takes it that nobody is working on a backlog.
LEFT_AFTER = 60_000_000
#: Lost answers and races after which a backlog is left to the sweep.
MAX_LOST = 5
#: Backlogs read in one call; each is a few kilobytes, a hostile one sixty.
BACKLOG_PAGE = 100


async def write_texts(table: IndexTable, partition: str, key: str, backlog: Backlog, etag: str) -> bool:
    """Work off the backlog whose row has this RowKey and ETag; returns whether nothing of it is left.

    Something is left when another process changed the backlog meanwhile, when the index did not answer, and when the
    table refuses a row. Raises Unavailable as `IndexTable.commit` does.
    """
    return await _Work(table, partition, key, backlog, etag).finish()


@dataclass(frozen=True, slots=True)
class LeftBacklog:
    """The row of a backlog that somebody left."""

    partition: str
    row: Row


async def work_off(table: IndexTable, left: LeftBacklog) -> bool:
    """Work off a backlog that somebody left; as `write_texts`. One that has to stay is left alone."""
    backlog = backlog_of(left.row)
    if backlog.kept:
        return False
    return await write_texts(table, left.partition, left.row.key, backlog, left.row.etag)


async def left_backlogs(table: IndexTable, partitions: Sequence[str], now: int) -> AsyncIterator[LeftBacklog]:
    """The backlogs that nobody is working on, as of `now` in microseconds since 1970."""
    for partition in partitions:
        async for page in table.pages(partition, keys.backlog_rows(), page_size=BACKLOG_PAGE):
            for row in page:
                since = row.columns.get("since")
                # A malformed one is given, too, so that it is told of.
                if not isinstance(since, int) or since + LEFT_AFTER <= now:
                    yield LeftBacklog(partition, row)


class _Work:
    """One backlog being worked off."""

    def __init__(self, table: IndexTable, partition: str, key: str, backlog: Backlog, etag: str) -> None:
        self._table = table
        self._partition = partition
        self._key = key
        self._backlog = backlog
        self._etag = etag
        written, removed = backlog.rows()
        # Of a new study all are new, which Azurite takes in half the time; a changed text shares suffixes with the old.
        kind: Literal["insert", "put"] = "put" if removed else "insert"
        self._left = [*(Operation(kind, row) for row in written), *(Operation("delete", row) for row in removed)]
        self._refused: list[str] = []

    async def finish(self) -> bool:
        size = MAX_OPERATIONS - 1
        lost = 0
        while True:
            taken, rest = self._left[:size], self._left[size:]
            backlog = self._backlog_operation(last=not rest)
            match await self._table.commit(self._partition, [*taken, backlog]):
                case Committed(etags) if rest:
                    self._left, self._etag, size = rest, etags[self._key], MAX_OPERATIONS - 1
                case Committed():
                    return not self._refused
                case Refused() if len(taken) == 1:
                    # Seen by searches through the backlog, which stays for that.
                    self._refused.append(taken[0].key)
                    self._left, size = rest, MAX_OPERATIONS - 1
                case Refused() if taken:
                    size = len(taken) // 2
                case Clash() | Stale() | Unknown() if lost < MAX_LOST:
                    lost += 1
                    match await self._find_place():
                        case "done":
                            return not self._refused
                        case "changed":
                            return False
                case _:
                    return False

    async def _find_place(self) -> Literal["done", "changed", "going on"]:
        """Find out what has become of the backlog, and what is left to do.

        One that has not changed may still have another ETag: from a transaction whose answer was lost, or from somebody
        else who works on it. They do the same, in the same order, so there is no need to tell which.
        """
        row = await self._table.get(self._partition, self._key)
        if row is None:
            return "done"
        if backlog_of(row) != self._backlog:
            return "changed"
        self._etag = row.etag
        removed = [each for each in self._left if each.kind == "delete"]
        present = await in_parallel(
            lambda each: self._table.get(self._partition, each.key, select=["PartitionKey"]), removed
        )
        missing = {each.key for each, found in zip(removed, present, strict=True) if found is None}
        self._left = [
            replace(each, kind="put") if each.kind == "insert" else each
            for each in self._left
            if each.key not in missing
        ]
        return "going on"

    def _backlog_operation(self, *, last: bool) -> Operation:
        if not last:
            return Operation("replace", self._key, self._backlog.columns(), self._etag)
        if not self._refused:
            return Operation("delete", self._key, etag=self._etag)
        kept = frozenset(texts for texts in self._backlog.add if not texts.rows().isdisjoint(self._refused))
        columns = replace(self._backlog, add=kept, drop=frozenset(), kept=True).columns()
        return Operation("replace", self._key, columns, self._etag)
