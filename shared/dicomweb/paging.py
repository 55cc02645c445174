"""Cursors: where a page of search results ended, as a token that the next request brings back.

To clients a token is opaque. It holds the place of the last result in the order of the answer: the times at which it
and its parents were created, and their UIDs, which the result itself has as well. It need not be secret or signed:
whoever makes one up gets a page of the same search from another place.

Left out: the HTTP header that carries it (web/search.py) and what comes after a place (storage/search_order.py).
"""

import base64
import binascii
import re

from shared.dicom.validation import is_uid
from shared.errors import BadRequest
from shared.model import Level, Position

#: Three UIDs of 64 characters, their times and the date take fewer than 512 in base64.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,512}")
_TIME = re.compile(r"[0-9a-f]{1,13}")
_DATE = re.compile(r"(?:[0-9]{8})?")


def token_of(position: Position) -> str:
    """The token for a position."""
    levels = [each for each in (position.study, position.series, position.instance) if each is not None]
    pieces = [position.date, *(piece for created, uid in levels for piece in (f"{created:x}", uid))]
    return base64.urlsafe_b64encode("!".join(pieces).encode()).decode().rstrip("=")


def position_of(token: str, level: Level) -> Position:
    """The position of a result of a level that a token stands for. Raises BadRequest where it stands for none."""
    try:
        if not _TOKEN.fullmatch(token):
            raise ValueError
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("ascii")
        date, *pieces = text.split("!")
        times, uids = pieces[::2], pieces[1::2]
        if not (len(times) == len(uids) == level and _DATE.fullmatch(date)):
            raise ValueError
        if not (
            all(_TIME.fullmatch(each) for each in times) and all(is_uid(each) and " " not in each for each in uids)
        ):
            raise ValueError
        named = [(int(created, 16), uid) for created, uid in zip(times, uids, strict=True)]
    except (ValueError, binascii.Error):
        raise BadRequest("Invalid query: cursor is none that this service gave.") from None
    study, series, instance = (*named, None, None)[:3]
    assert study is not None
    return Position(date, study, series, instance)
