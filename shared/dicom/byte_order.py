"""Words turned round between big and little endian (PS3.5 §7.3)."""

import sys
from array import array
from typing import Final

from shared.errors import CannotTranscode

_CODES: Final = {2: "H", 4: "I", 8: "Q"}

assert [array(code).itemsize for code in _CODES.values()] == list(_CODES), "array has other words than expected"


def swapped(data: bytes, word: int) -> bytes:
    """Words of 1, 2, 4 or 8 bytes turned round. Raises CannotTranscode when `data` is not made of whole words."""
    if word == 1:
        return data
    if len(data) % word:
        raise CannotTranscode("big endian words are cut in two by the end of the frame; it is available as stored")
    words = array(_CODES[word], data)
    words.byteswap()
    return words.tobytes()


assert sys.byteorder == "little", "decoded pixels are little endian on the assumption that the machine is"
