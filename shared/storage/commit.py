"""Committing: group commit per study, lost races, lost answers.

Stores of one study that wait at the same time join into one transaction; while it runs, the next ones gather. Across
processes the ETag of the study row decides, and the loser reads again and retries with jitter.

A store of one instance ends in one of two ways:

    insert taken    the instance, its counts and its search rows are visible, together
    insert clashes  the row is read back. It carries our version id: an earlier attempt of ours took effect and its
                    answer was lost, so this is success. It carries another: the instance existed (45070)

Text rows follow the commit that changes texts, before it is answered. Where they fail the store does not: the backlog
stays, searches look at it, and the sweep works it off.

Left out: what the operations are (plan.py), how text rows are written (text_writer.py).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from shared.errors import Unavailable, describe
from shared.model import InstanceKey, NewInstance, StoredInstance
from shared.storage import keys
from shared.storage.notes import NoteChange
from shared.storage.parallel import in_parallel
from shared.storage.plan import Moment, Plan, StudyState, largest_delete, plan_store
from shared.storage.rows import INSTANCE_COLUMNS, instance_of, series_of, study_of
from shared.storage.table import Clash, CommitAnswer, Committed, IndexTable, Operation, Refused, Stale, Unknown
from shared.storage.text_writer import LeftBacklog, work_off, write_texts
from shared.storage.texts import backlog_of

logger = logging.getLogger(__name__)

#: Instances that are tried in one transaction: two rows each, and room for the study's own rows.
BATCH = 45
#: Times one commit is tried against other processes before the store counts as unavailable.
MAX_ATTEMPTS = 40
#: Tries after which it is no longer taken for granted that search rows are as they should be.
SUSPICIOUS_ATTEMPT = 3
#: Seconds between tries: none for the first few, because contention clears quickly, then a random part of this.
MAX_PAUSE = 0.5


class CommitResult(Enum):
    """How the commit of one instance ended."""

    STORED = "stored"
    EXISTS = "exists"
    #: The index does not take the instance's rows, however often they are sent.
    REFUSED = "refused"


@dataclass(slots=True)
class _Waiting:
    """One instance that waits for its commit."""

    instance: NewInstance
    replaces: bool
    done: asyncio.Future[CommitResult]

    def __post_init__(self) -> None:
        # Whoever waited may have gone away, or look at another result first; asyncio would log the error with its text.
        self.done.add_done_callback(lambda done: done.cancelled() or done.exception())

    def settle(self, result: CommitResult | Exception) -> None:
        """Give the result, unless there is one or whoever waited has gone away."""
        if self.done.done():
            return
        if isinstance(result, Exception):
            self.done.set_exception(result)
        else:
            self.done.set_result(result)


@dataclass(slots=True)
class _Queue:
    """What one study has to commit, and is committing; `turn` keeps stores and deletes of this process from racing."""

    waiting: deque[_Waiting] = field(default_factory=deque)
    batch: list[_Waiting] = field(default_factory=list)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    drain: asyncio.Task[None] | None = None
    users: int = 0


class Committer:
    """Commits stores and deletes of any study, for one process."""

    def __init__(
        self,
        table: IndexTable,
        partition_of: Callable[[str], Awaitable[str]],
        moment: Callable[[], Moment],
        jitter: Callable[[], float],
    ) -> None:
        """`partition_of` gives the PartitionKey of a study, `jitter` random numbers from 0 to 1."""
        self._table = table
        self._partition_of = partition_of
        self._moment = moment
        self._jitter = jitter
        self._queues: dict[str, _Queue] = {}

    async def store(self, instances: Sequence[NewInstance], *, replaces: bool) -> list[CommitResult]:
        """Commit instances of one study, in order; each gets its own result.

        With `replaces`, instances that exist are replaced and the result is always STORED. Raises Unavailable when the
        index cannot be written; instances of this call may then be stored or not, and may be sent again.
        """
        loop = asyncio.get_running_loop()
        waiting = [_Waiting(instance, replaces, loop.create_future()) for instance in instances]
        study = instances[0].key.study
        queue = self._enter(study)
        try:
            queue.waiting.extend(waiting)
            if queue.drain is None:
                # A task of its own: a caller that goes away must not interrupt a commit that others wait for too.
                queue.drain = asyncio.create_task(self._drain(study, self._enter(study)))
                queue.drain.add_done_callback(lambda drain: self._ended(study, queue, drain))
            await asyncio.wait([each.done for each in waiting])
        finally:
            self._leave(study, queue)
        return [each.done.result() for each in waiting]

    async def delete(
        self,
        study: str,
        instances: Sequence[InstanceKey],
        note: NoteChange | None = None,
        *,
        before: int | None = None,
        garbage: bool = True,
    ) -> None:
        """Take the instances that still exist out of the index, in as few transactions as they fit into.

        At most `BATCH` instances, and of those none created after `before` (microseconds since 1970). A `note` is
        written first, or removed last; see `plan_delete`, also for `garbage`. Raises Unavailable.
        """
        queue = self._enter(study)
        try:
            async with queue.turn:
                waiting = list(instances)
                while waiting:
                    waiting = await self._delete(study, waiting, note, before, garbage)
        finally:
            self._leave(study, queue)

    async def finish(self) -> None:
        """Wait until all that was handed over is committed, or has failed, though whoever did so may have gone away."""
        while drains := [queue.drain for queue in self._queues.values() if queue.drain]:
            await asyncio.wait(drains)

    def _enter(self, study: str) -> _Queue:
        queue = self._queues.setdefault(study, _Queue())
        queue.users += 1
        return queue

    def _leave(self, study: str, queue: _Queue) -> None:
        queue.users -= 1
        if not queue.users:
            del self._queues[study]

    async def _drain(self, study: str, queue: _Queue) -> None:
        """Commit what waits, batch by batch, until nothing does."""
        state: StudyState | None = None
        while queue.waiting:
            # A turn for each batch, so that a delete need not wait until nobody stores any more.
            async with queue.turn:
                batch = queue.batch = _take(queue.waiting)
                try:
                    state = await self._store_batch(study, state, batch, queue.waiting)
                except Exception as error:
                    state = None
                    for each in batch:
                        each.settle(error)
        # No await between the last look at `waiting` and this: nobody can be left behind.
        queue.drain = None
        self._leave(study, queue)

    def _ended(self, study: str, queue: _Queue, drain: asyncio.Task[None]) -> None:
        """Let nobody wait for a drain that was cancelled, as all tasks are when a program is stopped."""
        if not drain.cancelled():
            return
        for each in (*queue.batch, *queue.waiting):
            each.settle(Unavailable("the commit was broken off"))
        queue.waiting.clear()
        queue.drain = None
        self._leave(study, queue)

    async def _store_batch(
        self, study: str, state: StudyState | None, batch: list[_Waiting], waiting: deque[_Waiting]
    ) -> StudyState:
        """Commit one batch and return the state after it. What does not fit leaves `batch` and waits again."""
        partition = await self._partition_of(study)
        existing: dict[str, StoredInstance] = {}
        checked = not any(each.replaces for each in batch)
        for attempt in range(MAX_ATTEMPTS):
            await self._pause(attempt)
            wanted = {each.instance.key.series for each in batch}
            if state is None or not wanted <= state.series.keys():
                state = await self._read_state(partition, study, wanted, state)
            if not checked:
                state, existing = await self._read_existing(partition, state, batch)
                if attempt:  # one whose answer was lost may have left a backlog
                    state = await self._read_backlog(partition, state)
                checked = True
            _settle(batch, existing)
            if not batch:
                return state
            plan = _largest_plan(state, batch, existing, self._moment(), waiting)
            match await self._commit(partition, plan.operations, attempt):
                case Committed(etags):
                    await self._write_texts(partition, plan, etags)
                    for each in batch:
                        each.settle(CommitResult.STORED)
                    _settle_repetitions(batch, waiting)
                    kept = {key: etag for key, etag in {**state.etags, **etags}.items() if key[0] in "se"}
                    return replace(plan.after, etags=kept, backlog=None)
                case Clash(index) if plan.operations[index].key[0] == "i":
                    # Of all at once, or a batch of duplicates would take as many transactions as it has instances.
                    state, existing = await self._read_existing(partition, state, batch)
                    checked = True
                case Clash(index) if plan.operations[index].key == plan.backlog_key:
                    state = await self._read_backlog(partition, state)
                case Refused() if len(batch) == 1:
                    batch[0].settle(CommitResult.REFUSED)
                    return state
                case Refused():
                    # One of them is at fault: the others must not suffer for it.
                    keep = len(batch) // 2
                    waiting.extendleft(reversed(batch[keep:]))
                    del batch[keep:]
                case Clash() | Stale():
                    state, checked = None, not any(each.replaces for each in batch)
                case Unknown():
                    # It may have taken effect: the rows of the instances tell.
                    state, checked = None, False
        raise Unavailable("the study is being changed by too many others at once")

    async def _delete(
        self,
        study: str,
        instances: Sequence[InstanceKey],
        note: NoteChange | None,
        before: int | None,
        garbage: bool,
    ) -> list[InstanceKey]:
        """Delete as many of the instances as fit into one transaction; returns the others."""
        partition = await self._partition_of(study)
        for attempt in range(MAX_ATTEMPTS):
            await self._pause(attempt)
            state = await self._read_state(partition, study, {key.series for key in instances}, None)
            if attempt:  # of somebody else, or of a transaction whose answer was lost
                state = await self._read_backlog(partition, state)
            state, found = await self._read_rows(partition, state, [keys.instance_row(key) for key in instances])
            leaving = [
                each
                for each in found.values()
                if state.series.get(each.key.series) and (before is None or each.created <= before)
            ]
            if state.study is None or not leaving:
                await self._drop_note(partition, note)
                return []
            plan, others = largest_delete(state, leaving, self._moment(), note, garbage)
            match await self._commit(partition, plan.operations, attempt):
                case Committed(etags):
                    await self._write_texts(partition, plan, etags)
                    return [each.key for each in others]
                case Refused():
                    break
        raise Unavailable("the study is being changed by too many others at once")

    async def _drop_note(self, partition: str, note: NoteChange | None) -> None:
        if note is not None and note.note is None:
            await self._table.commit(partition, [note.operation()])

    async def _write_texts(self, partition: str, plan: Plan, etags: Mapping[str, str]) -> None:
        """Work off the backlog that a plan has left, as far as that goes."""
        if plan.backlog_key is None or plan.after.backlog is None:
            return
        try:
            await write_texts(self._table, partition, plan.backlog_key, plan.after.backlog, etags[plan.backlog_key])
        except Exception as error:
            # Whatever it is: the commit has taken effect, and the backlog does until the sweep comes.
            logger.warning("text rows are left to the sweep: %s", describe(error))

    async def _read_backlog(self, partition: str, state: StudyState) -> StudyState:
        """Add to the state what is left of a backlog that somebody has left, after trying to work it off."""
        if state.study is None:
            return state
        key = keys.backlog_row(keys.newest_first(state.study.created), state.uid)
        row = await self._table.get(partition, key)
        if row is not None:
            done = await work_off(self._table, LeftBacklog(partition, row))
            row = None if done else await self._table.get(partition, key)
        if row is None:
            return replace(state, backlog=None)
        return replace(state, backlog=backlog_of(row), etags={**state.etags, key: row.etag})

    async def _pause(self, attempt: int) -> None:
        if attempt > 1:
            await asyncio.sleep(self._jitter() * min(MAX_PAUSE, 0.01 * 2.0**attempt))

    async def _commit(self, partition: str, operations: Iterable[Operation], attempt: int) -> CommitAnswer:
        operations = list(operations)
        if attempt >= SUSPICIOUS_ATTEMPT:
            # A delete that expects search rows which an index of fewer searchable attributes lacks would fail for ever.
            expected = [each.key for each in operations if each.kind == "delete" and each.etag is None]
            present = await in_parallel(lambda key: self._table.get(partition, key, select=["PartitionKey"]), expected)
            missing = {key for key, row in zip(expected, present, strict=True) if row is None}
            operations = [each for each in operations if each.key not in missing]
        return await self._table.commit(partition, operations)

    async def _read_state(self, partition: str, study: str, series: set[str], known: StudyState | None) -> StudyState:
        """The study row and the rows of some series, added to what is known of the same study."""
        names = [keys.study_row(study), *(keys.series_row(study, uid) for uid in sorted(series))]
        study_row, *series_rows = await in_parallel(lambda name: self._table.get(partition, name), names)
        etags = {row.key: row.etag for row in (study_row, *series_rows) if row}
        found = {
            uid: series_of(study, uid, row.columns) if row else None
            for uid, row in zip(sorted(series), series_rows, strict=True)
        }
        if known is not None and study_row and known.etags.get(study_row.key) == study_row.etag:
            return replace(known, series={**known.series, **found}, etags={**known.etags, **etags})
        return StudyState(study, study_of(study, study_row.columns) if study_row else None, found, etags)

    async def _read_existing(
        self, partition: str, state: StudyState, batch: Sequence[_Waiting]
    ) -> tuple[StudyState, dict[str, StoredInstance]]:
        return await self._read_rows(partition, state, [keys.instance_row(each.instance.key) for each in batch])

    async def _read_rows(
        self, partition: str, state: StudyState, names: Sequence[str]
    ) -> tuple[StudyState, dict[str, StoredInstance]]:
        """Those of the instance rows that exist, by RowKey; their ETags join the state."""
        rows = await in_parallel(lambda name: self._table.get(partition, name, select=INSTANCE_COLUMNS), names)
        found = {row.key: row for row in rows if row is not None}
        etags = {**state.etags, **{key: row.etag for key, row in found.items()}}
        return replace(state, etags=etags), {key: instance_of(row) for key, row in found.items()}


def _take(waiting: deque[_Waiting]) -> list[_Waiting]:
    """The next batch: no instance twice, because a transaction may touch a row once. Later ones stay, in order."""
    batch: list[_Waiting] = []
    later: list[_Waiting] = []
    taken: set[InstanceKey] = set()
    while waiting and len(batch) < BATCH:
        each = waiting.popleft()
        if each.instance.key in taken:
            later.append(each)
        else:
            taken.add(each.instance.key)
            batch.append(each)
    waiting.extendleft(reversed(later))
    return batch


def _settle(batch: list[_Waiting], existing: Mapping[str, StoredInstance]) -> None:
    """Give those their result that need no commit any more, and take them out of the batch."""
    for each in list(batch):
        found = existing.get(keys.instance_row(each.instance.key))
        if found is not None and found.version == each.instance.version:
            each.settle(CommitResult.STORED)  # by an earlier attempt whose answer was lost
        elif found is not None and not each.replaces:
            each.settle(CommitResult.EXISTS)
        else:
            continue
        batch.remove(each)


def _settle_repetitions(stored: Sequence[_Waiting], waiting: deque[_Waiting]) -> None:
    """Give those their result that wait to store, not to replace, an instance that has just been stored."""
    keys_stored = {each.instance.key for each in stored}
    for each in [each for each in waiting if not each.replaces and each.instance.key in keys_stored]:
        each.settle(CommitResult.EXISTS)
        waiting.remove(each)


def _largest_plan(
    state: StudyState,
    batch: list[_Waiting],
    existing: Mapping[str, StoredInstance],
    moment: Moment,
    waiting: deque[_Waiting],
) -> Plan:
    """The plan for as much of the batch as fits into one transaction; what does not goes back to `waiting`."""
    while True:
        rows = [keys.instance_row(each.instance.key) for each in batch]
        replaced = {row: existing[row] for row in rows if row in existing}
        plan = plan_store(state, [each.instance for each in batch], replaced, moment)
        if plan.fits or len(batch) == 1:
            return plan
        keep = max(1, len(batch) * 3 // 4)
        waiting.extendleft(reversed(batch[keep:]))
        del batch[keep:]
