"""What a request costs in storage: its calls and their bytes, counted where the SDKs send them.

A request's handler, and later whatever sends its body, works within `measured`; each call that is made meanwhile, also
by the tasks started there, counts for it. A commit that carries instances of several requests counts for the one that
took it up.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from azure.core.pipeline.transport import AioHttpTransport

#: Seconds until a connection must be there, and until the next bytes must have come over it.
CONNECTION_TIMEOUT, READ_TIMEOUT = 20, 60
#: Bytes of a body that are taken from a connection at a time.
READ_BYTES = 256 * 1024


@dataclass(slots=True)
class Usage:
    """Storage calls, counting every retry, and the bytes of their bodies; of those received, as far as is known."""

    calls: int = 0
    sent: int = 0
    received: int = 0


_usage: ContextVar[Usage | None] = ContextVar("usage", default=None)


@contextmanager
def measured(usage: Usage) -> Iterator[None]:
    """Adds the storage calls made within the block to `usage`."""
    token = _usage.set(usage)
    try:
        yield
    finally:
        _usage.reset(token)


class MeasuringTransport(AioHttpTransport):  # type: ignore[misc]  # which the SDK loads when it is asked for it
    """The SDKs' own transport, which also adds what it carries to the usage at hand."""

    def __init__(self) -> None:
        """With what the blob client would choose for itself: without it, a blob comes in pieces of 4 KiB."""
        super().__init__(
            connection_timeout=CONNECTION_TIMEOUT, read_timeout=READ_TIMEOUT, connection_data_block_size=READ_BYTES
        )

    async def send(self, request: Any, **options: Any) -> Any:
        """Send a request of the SDK; see the base class."""
        usage = _usage.get()
        if usage is not None:
            usage.calls += 1
            usage.sent += _length(request)
        response = await super().send(request, **options)
        if usage is not None:
            # A body that is held is counted as it is; one that streams, blobs do, as it was announced.
            usage.received += _length(response) if options.get("stream") else len(response.body())
        return response


def _length(message: Any) -> int:
    return int(message.headers.get("Content-Length") or 0)
