"""Ctrl-C: the first ends a command in an orderly way, the second at once.

asyncio has an answer of its own, which will not do. It cancels in the midst of whatever the event loop is doing, which
may be just about to give the result that is cancelled, and its second Ctrl-C raises KeyboardInterrupt in any callback,
after which somebody may wait for ever for what that callback would have said.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from types import FrameType

#: The exit code of what was stopped, as shells have it.
STOPPED = 130

_AT_ONCE = "\npython -m admin: stopped at once; the same command goes on with what is left\n"


def end_on_ctrl_c() -> None:
    """Before there is anything to be put in order, and afterwards: Ctrl-C ends the process, without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and not ignored, as in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def run[T](work: Coroutine[None, None, T]) -> T:
    """Run work to its end, or until Ctrl-C cancels it, which raises CancelledError."""
    before = signal.getsignal(signal.SIGINT)
    try:
        with asyncio.Runner() as runner:
            return runner.run(_stoppable(work, before != signal.SIG_IGN))
    finally:
        signal.signal(signal.SIGINT, before)


async def _stoppable[T](work: Coroutine[None, None, T], stops: bool) -> T:
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None

    def stop(_signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, _end_at_once)
        loop.call_soon_threadsafe(task.cancel)

    if stops:
        signal.signal(signal.SIGINT, stop)
    return await work


def _end_at_once(_signal: int, _frame: FrameType | None) -> None:
    """End as if the power had failed, which archive, journal and exported files all survive."""
    os.write(sys.stderr.fileno(), _AT_ONCE.encode())
    os._exit(STOPPED)
