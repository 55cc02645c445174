"""A decoded frame as an image that a browser shows (PS3.18 §8.7.4): colours, region, size, encoding.

    Frame --grayscale pipeline or colours--> uint8 --region, mirror, scale--> --JPEG, PNG, WebP, GIF--> bytes

Decides how colour spaces become RGB (PS3.3 §C.7.6.3.1.2, §C.7.9), and how a viewport is filled: the region is scaled as
far as it fits into the box, with pixels made square where the data set says that they are not; without a viewport every
pixel is one of the image. Windows are for grayscale alone.

numpy and Pillow are imported when the first image is made, not when the app starts.

Left out: overlays, graphics and shutters (PS3.3 §C.9, §C.10, §C.7.6.11), ICC profiles, moving images.
"""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.dicom.grayscale import Window, finite, grey
from shared.dicom.image import Frame
from shared.errors import CannotRender

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

    `data_set` is that of the instance, without its pixel data. Raises CannotRender when the image cannot be made.
    """
    try:
        image = _pillow(_pixels(data_set, frame, number, rendering.window))
        return _encoded(_viewed(image, data_set, rendering.viewport), rendering)
    except CannotRender:
        raise
    except Exception as error:
        # Lookup tables, windows and sizes come from the file: libraries raise anything, and may quote values.
        raise CannotRender(f"the image cannot be rendered ({type(error).__name__})") from None


def _pixels(data_set: "Dataset", frame: Frame, number: int, window: Window | None) -> "NDArray[Any]":
    """The frame as uint8, of shape (rows, columns) or (rows, columns, 3)."""
    photometric = frame.image.photometric_interpretation
    if frame.image.samples_per_pixel == 1:
        if photometric == "PALETTE COLOR":
            return _of_palette(data_set, frame)
        return grey(data_set, frame, number, window)
    if frame.image.samples_per_pixel != 3:
        raise CannotRender("images of more than three samples a pixel are not rendered")
    colours = _eight_bits(frame)
    if photometric in ("YBR_FULL", "YBR_FULL_422"):
        from pydicom.pixels.processing import convert_color_space

        return convert_color_space(colours, "YBR_FULL", "RGB")
    if photometric.startswith("YBR_PARTIAL"):
        return _from_partial_range(colours)
    return colours


def _eight_bits(frame: Frame) -> "NDArray[Any]":
    """Samples of colour as uint8."""
    import numpy

    samples = frame.array()
    if samples.dtype.kind == "f":
        raise CannotRender("colour images of floating point numbers are not rendered")
    surplus = frame.image.bits_stored - 8
    if surplus > 0:
        samples = samples >> surplus
    return numpy.ascontiguousarray(samples.astype(numpy.uint8))


def _of_palette(data_set: "Dataset", frame: Frame) -> "NDArray[Any]":
    """PALETTE COLOR by the palette of the data set (PS3.3 §C.7.6.3.1.5, §C.7.9)."""
    import numpy
    from pydicom.pixels.processing import apply_color_lut

    colours = apply_color_lut(frame.array(), data_set)[..., :3]
    return colours if colours.dtype == numpy.uint8 else (colours >> 8).astype(numpy.uint8)


def _from_partial_range(colours: "NDArray[Any]") -> "NDArray[Any]":
    """YBR_PARTIAL_420 and YBR_PARTIAL_422, whose brightness is 16 to 235 (PS3.3 §C.7.6.3.1.2)."""
    import numpy

    y, cb, cr = (colours[..., plane].astype(numpy.float32) for plane in range(3))
    brightness = 1.1644 * (y - 16.0)
    red = brightness + 1.5960 * (cr - 128.0)
    green = brightness - 0.3917 * (cb - 128.0) - 0.8130 * (cr - 128.0)
    blue = brightness + 2.0173 * (cb - 128.0)
    return numpy.clip(numpy.rint(numpy.stack([red, green, blue], axis=-1)), 0, 255).astype(numpy.uint8)


def _pillow(pixels: "NDArray[Any]") -> "Pillow.Image":
    from PIL import Image

    return Image.fromarray(pixels)


def _viewed(image: "Pillow.Image", data_set: "Dataset", viewport: Viewport | None) -> "Pillow.Image":
    """The region that a viewport shows, in its size."""
    if viewport is None:
        return image
    from PIL import Image

    left, top = viewport.x, viewport.y
    right = image.width if viewport.region_width is None else min(image.width, left + viewport.region_width)
    bottom = image.height if viewport.region_height is None else min(image.height, top + viewport.region_height)
    if left >= right or top >= bottom:
        raise CannotRender("the region of the viewport lies outside of the image")
    shown_width, shown_height = right - left, (bottom - top) * _pixel_aspect(data_set)
    scale = min(viewport.width / shown_width, viewport.height / shown_height)
    size = (max(1, round(shown_width * scale)), max(1, round(shown_height * scale)))
    smaller = size[0] < shown_width or size[1] < shown_height
    resampling = Image.Resampling.LANCZOS if smaller else Image.Resampling.BICUBIC
    shown = image.resize(size, resampling, box=(left, top, right, bottom))
    if viewport.flip_horizontal:
        shown = shown.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return shown.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if viewport.flip_vertical else shown


def _pixel_aspect(data_set: "Dataset") -> float:
    """Height of a pixel by its width: Pixel Aspect Ratio, or what spacing says (PS3.3 §C.7.6.3.1.7); 1 if neither."""
    for keyword in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        value = data_set.get(keyword)
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
