"""Names for studies in logs: the same study has the same one, and nobody can tell from it which study that is.

A pseudonym is an HMAC of the UID under a key that is drawn once and kept in the index: whoever may read the logs, but
not the index, cannot try UIDs out. Without the key, because the index was lost, there are new pseudonyms.
"""

import hashlib
import hmac
from collections.abc import Callable

from shared.errors import Unavailable
from shared.storage.index import ABOUT_ITSELF, Index
from shared.storage.once import Once
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
        self._key = Once[bytes]()

    async def of(self, uid: str) -> str:
        """The pseudonym of a UID. Raises Unavailable when the key cannot be read."""
        key = await self._key.get(lambda: self._read(self._new_key()))
        return hmac.new(key, uid.encode(), hashlib.sha256).hexdigest()[:DIGITS]

    async def take_over(self, old: "Pseudonyms") -> None:
        """Use the key of another index, unless this one has a key already. Raises Unavailable."""
        row = await old._table.get(ABOUT_ITSELF, _KEY_ROW)
        if row is not None:
            taken = bytes(row.columns["key"])
            await self._key.get(lambda: self._read(taken))

    async def _read(self, new_key: bytes) -> bytes:
        """The key in the index, which is `new_key` where there was none."""
        await self._index.open()
        row = await self._table.get(ABOUT_ITSELF, _KEY_ROW)
        if row is None:
            # When another process was first this clashes, and its key is the one that counts.
            await self._table.commit(ABOUT_ITSELF, [Operation("insert", _KEY_ROW, {"key": new_key})])
            row = await self._table.get(ABOUT_ITSELF, _KEY_ROW)
        if row is None:
            raise Unavailable("the index does not take a key")
        return bytes(row.columns["key"])
