"""What a client asks of a rendered image: the query parameters and the media type (PS3.18 §8.3.5, §8.7.4).

    quality    1 to 100, of lossy images
    viewport   vw,vh[,sx,sy,sw,sh]: the box the image is scaled into, and the region of it that is wanted; a negative
               extent of the region mirrors it, an empty one means all of it
    window     center,width[,function]: linear (what is meant when nothing is said), linear-exact or sigmoid

Other parameters are ignored, as the original service does; so are `annotation` and `iccprofile`: nothing is burnt
into images, and an image has the colours that are stored.

Deviation: the original service takes one Accept value only, JPEG or PNG, and no wildcard; here any list is answered
with the best of what is on offer.
"""

import math
import re
from collections.abc import Iterable, Sequence

from shared.dicom.rendering import Rendering, Viewport, Window
from shared.dicomweb.media_types import MediaRange
from shared.dicomweb.negotiation import covers
from shared.errors import BadRequest, NotAcceptable

#: What an image can be had as (PS3.18 Table 8.7.4-1), the one a wildcard means first.
RENDERED_MEDIA = ("image/jpeg", "image/png", "image/webp", "image/gif")

#: Pixels of either side of a viewport; bounds the image that is made.
MAX_VIEWPORT = 4096
#: Pixels of either side of a thumbnail's viewport when none is asked for, and its quality.
THUMBNAIL_SIDE, THUMBNAIL_QUALITY = 256, 80

_FUNCTIONS = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
_DECIMAL = re.compile(r"[+-]?([0-9]{1,16}(\.[0-9]{0,16})?|\.[0-9]{1,16})([eE][+-]?[0-9]{1,2})?")


def negotiate_rendered(accept: Sequence[MediaRange]) -> str:
    """The media type of an image that a client likes best. Raises NotAcceptable, naming what there is."""
    refused = {each.media for each in accept if each.q == 0}
    # Sorting is stable: of equal preference the earliest stays first.
    for each in sorted(accept, key=lambda media_range: -media_range.q):
        for media in RENDERED_MEDIA:
            if each.q > 0 and not each.multipart and covers(each.media, media) and media not in refused:
                return media
    raise NotAcceptable(f"nothing in Accept is offered for a rendered image; on offer: {', '.join(RENDERED_MEDIA)}")


def parse_rendering(parameters: Iterable[tuple[str, str]], *, thumbnail: bool) -> Rendering:
    """What the query parameters ask for, as JPEG. Raises BadRequest where one of them makes no sense."""
    given: dict[str, str] = {}
    for name, value in parameters:
        if name in ("quality", "viewport", "window"):
            if name in given:
                raise BadRequest(f"The query parameter '{name}' is invalid. It is specified more than once.")
            given[name] = value.strip()
    viewport = Viewport(THUMBNAIL_SIDE, THUMBNAIL_SIDE) if thumbnail else None
    return Rendering(
        media=RENDERED_MEDIA[0],
        quality=_quality(given["quality"]) if "quality" in given else THUMBNAIL_QUALITY if thumbnail else 100,
        viewport=_viewport(given["viewport"]) if "viewport" in given else viewport,
        window=_window(given["window"]) if "window" in given else None,
    )


def _quality(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= 100:
        raise BadRequest("Image quality must be a whole number between 1 and 100 inclusive.")
    return int(text)


def _viewport(text: str) -> Viewport:
    pieces = [piece.strip() for piece in text.split(",")]
    if len(pieces) not in (2, 6):
        raise BadRequest("The query parameter 'viewport' is invalid. It has two or six numbers with commas between.")
    width, height = (_side(piece) for piece in pieces[:2])
    x, y, across, down = (_decimal("viewport", piece) if piece else None for piece in [*pieces[2:], *[""] * 4][:4])
    if (x or 0) < 0 or (y or 0) < 0 or across == 0 or down == 0:
        raise BadRequest("The query parameter 'viewport' is invalid. The region is empty or lies outside of the image.")
    return Viewport(
        width,
        height,
        x or 0.0,
        y or 0.0,
        None if across is None else abs(across),
        None if down is None else abs(down),
        flip_horizontal=(across or 0) < 0,
        flip_vertical=(down or 0) < 0,
    )


def _side(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= MAX_VIEWPORT:
        raise BadRequest(
            f"The query parameter 'viewport' is invalid. Width and height are whole numbers from 1 to {MAX_VIEWPORT}."
        )
    return int(text)


def _window(text: str) -> Window:
    pieces = [piece.strip() for piece in text.split(",")]
    if len(pieces) not in (2, 3):
        raise BadRequest("The query parameter 'window' is invalid. It is center,width,function.")
    center, width = (_decimal("window", piece) for piece in pieces[:2])
    function = _FUNCTIONS.get(pieces[2].lower()) if len(pieces) == 3 else "LINEAR"
    if function is None:
        raise BadRequest(f"The query parameter 'window' is invalid. The function is one of {', '.join(_FUNCTIONS)}.")
    if width < (1 if function == "LINEAR" else math.ulp(0.0)):
        raise BadRequest("The query parameter 'window' is invalid. The width is too small for the function.")
    return Window(center, width, function)


def _decimal(name: str, text: str) -> float:
    if not _DECIMAL.fullmatch(text):
        raise BadRequest(f"The query parameter '{name}' is invalid. A value in it is not a number.")
    return float(text)
