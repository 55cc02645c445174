"""A decoded frame as an image that a browser shows (PS3.18 §8.7.4): colours, region, size, encoding.

    Frame --grayscale pipeline or colours--> uint8 --region, mirror, scale--> --JPEG, PNG, WebP, GIF--> bytes

Decides which frames are grayscale (grayscale.py) and which colours (colour.py), and how a viewport is filled: the
region is scaled as far as it fits into the box, with pixels made square where the data set says that they are not;
without a viewport every pixel is one of the image. Windows are for grayscale alone.

numpy and Pillow are imported within functions; pydicom has imported both by then, the encoders Pillow loads itself.

Left out: overlays, graphics and shutters (PS3.3 §C.9, §C.10, §C.7.6.11), ICC profiles, moving images.
"""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.dicom.colour import PALETTE, rgb
from shared.dicom.grayscale import Window, finite, functional_groups, grey, sources
from shared.dicom.image import Frame
from shared.errors import BadRequest, CannotRender, ServiceError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image as Pillow
    from pydicom import Dataset

__all__ = ["Rendering", "Viewport", "Window", "render"]

#: From this JPEG quality on colour is not sampled more coarsely than brightness.
_FULL_COLOUR = 90
#: Pixel aspect ratios that are believed; beyond them an image would be a line.
_ASPECT = (0.05, 20.0)


@dataclass(frozen=True, slots=True)
class Viewport:
    """A box of `width` x `height` pixels, and the region of the image to scale into it (PS3.18 §8.3.5.1.3).

    The region is in pixels of the image; None extends it to the edge.
    """

    width: int
    height: int
    x: float = 0.0
    y: float = 0.0
    region_width: float | None = None
    region_height: float | None = None
    flip_horizontal: bool = False
    flip_vertical: bool = False


@dataclass(frozen=True, slots=True)
class Rendering:
    """What is wanted of an image; `quality`, 1 to 100, is for JPEG and WebP."""

    media: str
    quality: int = 100
    viewport: Viewport | None = None
    window: Window | None = None


def render(data_set: "Dataset", frame: Frame, number: int, rendering: Rendering) -> bytes:
    """The image of a frame, counted from 1; work for a thread.

    `data_set` is that of the instance, without its pixel data. Raises CannotRender when the image cannot be made,
    BadRequest when the region of the viewport lies outside of it.
    """
    try:
        image = _pillow(_pixels(data_set, frame, number, rendering.window))
        return _encoded(_viewed(image, rendering.viewport, _pixel_aspect(data_set, number)), rendering)
    except (ServiceError, ImportError):
        raise  # a package that is not installed is a defect of the deployment, not of the image
    except Exception as error:
        # Lookup tables, windows and sizes come from the file: libraries raise anything, and may quote values.
        raise CannotRender(f"the image cannot be rendered ({type(error).__name__})") from None


def _pixels(data_set: "Dataset", frame: Frame, number: int, window: Window | None) -> "NDArray[Any]":
    """The frame as uint8, of shape (rows, columns) or (rows, columns, 3)."""
    if frame.image.samples_per_pixel == 1 and frame.image.photometric_interpretation != PALETTE:
        return grey(data_set, frame, number, window)
    return rgb(data_set, frame)


def _pillow(pixels: "NDArray[Any]") -> "Pillow.Image":
    from PIL import Image

    return Image.fromarray(pixels)


def _viewed(image: "Pillow.Image", viewport: Viewport | None, aspect: float) -> "Pillow.Image":
    """The region that a viewport shows, in its size; `aspect` is the height of a pixel by its width."""
    if viewport is None:
        return image
    from PIL import Image

    left, top = viewport.x, viewport.y
    right = image.width if viewport.region_width is None else min(image.width, left + viewport.region_width)
    bottom = image.height if viewport.region_height is None else min(image.height, top + viewport.region_height)
    if left >= right or top >= bottom:
        raise BadRequest("The query parameter 'viewport' is invalid. The region lies outside of the image.")
    shown_width, shown_height = right - left, (bottom - top) * aspect
    scale = min(viewport.width / shown_width, viewport.height / shown_height)
    size = (max(1, round(shown_width * scale)), max(1, round(shown_height * scale)))
    smaller = size[0] < shown_width or size[1] < shown_height
    resampling = Image.Resampling.LANCZOS if smaller else Image.Resampling.BICUBIC
    shown = image.resize(size, resampling, box=(left, top, right, bottom))
    if viewport.flip_horizontal:
        shown = shown.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return shown.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if viewport.flip_vertical else shown


def _pixel_aspect(data_set: "Dataset", number: int) -> float:
    """Height of a pixel of a frame by its width: Pixel Aspect Ratio (PS3.3 §C.7.6.3.1.7), or what spacing says, which
    frames may have of their own (PS3.3 §C.7.6.16.2.1); 1 if neither is there."""
    measures = sources(functional_groups(data_set, number), data_set, "PixelMeasuresSequence")
    for keyword in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        for value in (each.get(keyword) for each in measures):
            if value is None or isinstance(value, (str, bytes)) or not hasattr(value, "__len__") or len(value) < 2:
                continue
            height, width = finite(value[0]), finite(value[1])
            if height and width and _ASPECT[0] <= height / width <= _ASPECT[1]:
                return height / width
    return 1.0


def _encoded(image: "Pillow.Image", rendering: Rendering) -> bytes:
    out = io.BytesIO()
    match rendering.media:
        case "image/jpeg":
            subsampling = 0 if rendering.quality >= _FULL_COLOUR else 2
            image.save(out, "JPEG", quality=rendering.quality, subsampling=subsampling)
        case "image/webp":
            image.save(out, "WEBP", quality=rendering.quality)
        case "image/gif":
            image.save(out, "GIF")
        case "image/png":
            image.save(out, "PNG", compress_level=3)
        case _:
            raise CannotRender("there is no encoder for the media type")
    return out.getvalue()
