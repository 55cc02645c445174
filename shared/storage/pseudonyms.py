"""Names for studies in logs: the same study has the same one, and nobody can tell from it which study that is.

A pseudonym is an HMAC of the UID under a key that is drawn once and kept in the index: whoever may read the logs, but
not the index, cannot try UIDs out. Without the key, because the index was lost, there are new pseudonyms.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Callable

from shared.errors import Unavailable
from shared.storage.index import ABOUT_ITSELF, Index
from shared.storage.table import IndexTable, Operation

_KEY_ROW = "pseudonyms"
#: Bytes of the key.
KEY_BYTES = 32
#: Hexadecimal digits of a pseudonym.
DIGITS = 32


class Pseudonyms:
    """The pseudonyms of one index."""

    def __init__(self, table: IndexTable, index: Index, new_key: Callable[[], bytes]) -> None:
        """`new_key` draws `KEY_BYTES` random bytes."""
        self._table = table
        self._index = index
        self._new_key = new_key
        self._key: bytes | None = None
        self._reading = asyncio.Lock()

    async def of(self, uid: str) -> str:
        """The pseudonym of a UID. Raises Unavailable when the key cannot be read."""
        key = self._key or await self._read()
        return hmac.new(key, uid.encode(), hashlib.sha256).hexdigest()[:DIGITS]

    async def take_over(self, old: "Pseudonyms") -> None:
        """Use the key of another index, unless this one has a key already. Raises Unavailable."""
        row = await old._table.get(ABOUT_ITSELF, _KEY_ROW)
        if row is not None:
            await self._read(bytes(row.columns["key"]))

    async def _read(self, new_key: bytes | None = None) -> bytes:
        async with self._reading:
            if self._key is None:
                await self._index.open()
                row = await self._table.get(ABOUT_ITSELF, _KEY_ROW)
                if row is None:
                    # When another process was first this clashes, and its key is the one that counts.
                    drawn = Operation("insert", _KEY_ROW, {"key": new_key or self._new_key()})
                    await self._table.commit(ABOUT_ITSELF, [drawn])
                    row = await self._table.get(ABOUT_ITSELF, _KEY_ROW)
                if row is None:
                    raise Unavailable("the index does not take a key")
                self._key = bytes(row.columns["key"])
            return self._key
