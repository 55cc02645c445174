"""Where the bulk data of one store request waits until the file it belongs to can be written.

Metadata comes first and may refer to any part behind it, so what is composed can only be sent on once the request has
ended. Until then the parts lie one after another in memory, and in a temporary file once they are more than
`IN_MEMORY` bytes. The file has no name, or loses it at once: nothing is left of it when the process dies.
"""

import asyncio
import errno
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor

from shared.dicom.encapsulation import BulkPart, Piece
from shared.errors import TooLarge, Unavailable

#: Bytes of bulk data that one request keeps in memory.
IN_MEMORY = 8 * 1024 * 1024
#: Bytes read at once.
_PIECE = 1024 * 1024


class Spool:
    """The bulk data of one request. Close it."""

    def __init__(self, most: int, files: Executor) -> None:
        """`most` bounds its bytes; `files` runs what may wait for the disk."""
        self._most = most
        self._files = files
        self._length = 0
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115, closed by `close`

    def close(self) -> None:
        """Throw everything away."""
        self._file.close()

    async def add(self, chunks: AsyncIterator[bytes]) -> BulkPart:
        """Keep the bytes of one part. Raises TooLarge when they are too many, Unavailable when the disk is full."""
        begin = self._length
        async for chunk in chunks:
            self._length += len(chunk)
            if self._length > self._most:
                raise TooLarge(f"the bulk data of the request is larger than {self._most} bytes")
            await self._run(self._write, chunk)
        return BulkPart(begin, self._length - begin)

    async def read(self, offset: int, length: int) -> bytes:
        """Some bytes of what was added."""
        return await self._run(self._read, offset, length)

    async def stream(self, pieces: Sequence[Piece]) -> AsyncIterator[bytes]:
        """Pieces of a file, parts of them in here, as bytes."""
        for piece in pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            for at in range(0, piece.length, _PIECE):
                yield await self.read(piece.offset + at, min(_PIECE, piece.length - at))

    async def _run[T](self, work: Callable[..., T], *args: object) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._files, work, *args)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Unavailable("the temporary disk is full") from error
            raise

    def _write(self, data: bytes) -> None:
        self._file.seek(0, 2)
        self._file.write(data)

    def _read(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(length)
