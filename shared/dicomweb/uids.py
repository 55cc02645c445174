"""What is read from the path of a resource: UIDs and frame lists (PS3.18 §10.4.1.1).

Left out: splitting the path and decoding percent escapes, which the web framework does.
"""

import re

from shared.dicom.validation import is_uid
from shared.errors import BadRequest

#: Frames of one request. Bounds the list, and the parts of one answer.
MAX_FRAMES = 10_000
#: Number of Frames (0028,0008) is an IS, which ends here (PS3.5 §6.2).
MAX_FRAME_NUMBER = 0x7FFFFFFF

_FRAME_NUMBER = re.compile(r"[0-9]{1,10}")
_MAX_FRAME_CHARACTERS = 12  # ten digits, a comma and a space


def parse_uid(text: str, what: str) -> str:
    """The UID in a path segment, without the spaces or NULs that pad it; `what` is the keyword for the error text.

    Raises BadRequest for anything but 1 to 64 digits and dots that end in a digit. Deviation: PS3.5 §9.1 also forbids
    leading zeros and empty components; files have them, and the original service lets them pass.
    """
    uid = text.rstrip(" \0")
    if not is_uid(uid):
        raise BadRequest(f"{what} in the path is not a UID: 1 to 64 characters 0-9 and '.', the last of them a digit")
    return uid


def parse_frame_list(text: str) -> tuple[int, ...]:
    """The frame numbers of `/frames/{list}`, from 1, in the order asked for and with repetitions (PS3.18 §10.4.1.1).

    Raises BadRequest for anything but 1 to `MAX_FRAMES` positive integers with commas between them.
    """
    if len(text) > MAX_FRAMES * _MAX_FRAME_CHARACTERS or text.count(",") >= MAX_FRAMES:
        raise BadRequest(f"the frame list names more than {MAX_FRAMES} frames")
    return tuple(_frame_number(piece.strip(" ")) for piece in text.split(","))


def _frame_number(text: str) -> int:
    if _FRAME_NUMBER.fullmatch(text) and 1 <= (number := int(text)) <= MAX_FRAME_NUMBER:
        return number
    raise BadRequest("the frame list must hold positive integers separated by commas, the first frame being 1")
