"""From the stored values of a grayscale frame to eight bits: the grayscale pipeline (PS3.4 §N.2, PS3.3 §C.11).

    stored value --modality LUT--> what was measured --VOI LUT--> what is to be seen --presentation LUT--> 0 to 255

Decides which transformation counts where a data set has several: those of the frame before those of all frames before
those of the image; a window that the client asks for before a VOI LUT before the first window of the data set. Where
there is neither, images of at most eight bits show their whole range, others that of the values of the frame.

Facts
- Integer values of a frame span few numbers, so that a table of all of them is transformed, and the frame looked up.
- Padding values (PS3.3 §C.7.5.1.1.2), NaN and infinity do not count for the range of the values.
"""

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.dicom.image import Frame, Image
from shared.dicom.lookup import Descriptor, descriptor_of, entries_of, in_strips, looked_up, strips
from shared.errors import CannotRender

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

#: Numbers between the least and the greatest value up to which a table of them is made.
_TABLE = 1 << 17
#: Bytes of a pixel up to which that is tried: differences of larger ones do not fit into an index.
_TABLE_CELLS = 4

_FUNCTIONS = _LINEAR, _LINEAR_EXACT, _SIGMOID = "LINEAR", "LINEAR_EXACT", "SIGMOID"


@dataclass(frozen=True, slots=True)
class Window:
    """A window (PS3.3 §C.11.2.1.2), in the units of what was measured; `function` is a VOI LUT Function."""

    center: float
    width: float
    function: str = _LINEAR


type _Transformation = Callable[["NDArray[Any]"], "NDArray[Any]"]


def grey(data_set: "Dataset", frame: Frame, number: int, window: Window | None) -> "NDArray[Any]":
    """A frame, counted from 1, as uint8 of shape (rows, columns). Raises CannotRender for values that make no sense.

    Takes the memory of the image that is made, of a table or a strip of rows, and what Frame.array takes.
    """
    import numpy

    values, image = frame.array(), frame.image
    groups = functional_groups(data_set, number)
    modality, padding = _modality(data_set, groups, image), _padding(data_set, image)
    voi, inverted = _voi(groups, data_set, window), _is_inverted(data_set, frame)
    lowest, highest = (0, _TABLE) if values.dtype.kind == "f" else (int(values.min()), int(values.max()))
    # Rescaling overflows and windows divide; what comes of it is dealt with where fractions become eight bits.
    with numpy.errstate(all="ignore"):
        whole = _whole_range(image, modality)
        if highest - lowest < _TABLE and values.dtype.itemsize <= _TABLE_CELLS:
            numbers = numpy.arange(lowest, highest + 1, dtype=numpy.float64)
            measured = modality(numbers)

            def present() -> list["NDArray[Any]"]:
                return [measured[_presence(values, lowest, highest) & ~padding(numbers)]]

            table = _tone(measured, voi or _stretching(whole or _extent(present())), inverted)
            return in_strips(values, lambda strip: table[strip.astype(numpy.int64) - lowest], dtype=numpy.uint8)
        stored = (values[top:bottom].astype(numpy.float64) for top, bottom in strips(*values.shape))
        fraction = voi or _stretching(whole or _extent(modality(strip[~padding(strip)]) for strip in stored))

        def toned(strip: "NDArray[Any]") -> "NDArray[Any]":
            return _tone(modality(strip.astype(numpy.float64)), fraction, inverted)

        return in_strips(values, toned, dtype=numpy.uint8)


def _tone(measured: "NDArray[Any]", fraction: _Transformation, inverted: bool) -> "NDArray[Any]":
    """What was measured as 0 to 255. What is no number is as dark, before it is inverted, as the darkest."""
    import numpy

    shown = numpy.clip(numpy.nan_to_num(fraction(measured)), 0.0, 1.0)
    eight: NDArray[Any] = numpy.floor((1.0 - shown if inverted else shown) * 255.0 + 0.5).astype(numpy.uint8)
    return eight


def _stretching(extent: tuple[float, float]) -> _Transformation:
    """Fractions of the way from the least to the greatest number."""
    import numpy

    low, high = extent
    return lambda values: (values - low) / (high - low) if high > low else numpy.zeros_like(values)


def _whole_range(image: Image, modality: _Transformation) -> tuple[float, float] | None:
    """What the least and the greatest value of at most eight bits stand for; None for values of more."""
    import numpy

    if image.floating or image.bits_stored > 8:
        return None
    lowest = -(1 << image.bits_stored - 1) if image.pixel_representation else 0
    return _extent([modality(numpy.array([lowest, lowest + (1 << image.bits_stored) - 1], dtype=numpy.float64))])


def _extent(measured: Iterable["NDArray[Any]"]) -> tuple[float, float]:
    """The least and the greatest number there is; 0 and 0 for none."""
    import numpy

    low, high = math.inf, -math.inf
    for strip in measured:
        numbers = strip[numpy.isfinite(strip)]
        if numbers.size:
            low, high = min(low, float(numbers.min())), max(high, float(numbers.max()))
    return (low, high) if low <= high else (0.0, 0.0)


def _presence(values: "NDArray[Any]", lowest: int, highest: int) -> "NDArray[Any]":
    """Which of the numbers from the lowest to the highest value are values of the frame."""
    import numpy

    present = numpy.zeros(highest - lowest + 1, dtype=bool)
    for top, bottom in strips(*values.shape):
        present[values[top:bottom].astype(numpy.int64) - lowest] = True
    return present


def _padding(data_set: "Dataset", image: Image) -> _Transformation:
    """Tells which stored values are padding (Pixel Padding Value, and Range Limit, of integers or floats)."""
    import numpy

    kind = {32: "Float", 64: "DoubleFloat"}[image.bits_allocated] if image.floating else ""
    first = number_of(data_set, f"{kind}PixelPaddingValue")
    if first is None:
        return lambda values: numpy.zeros(values.shape, dtype=bool)
    last = number_of(data_set, f"{kind}PixelPaddingRangeLimit")
    # Some write negative numbers without their sign (US for SS).
    wrapped = bool(image.pixel_representation) and not image.floating and image.bits_allocated <= 16
    ends = [first, first if last is None else last]
    low, high = sorted(end - 0x10000 if wrapped and end >= 0x8000 else end for end in ends)
    return lambda values: (values >= low) & (values <= high)


def _is_inverted(data_set: "Dataset", frame: Frame) -> bool:
    shape = str(data_set.get("PresentationLUTShape") or "").strip().upper()
    return shape == "INVERSE" or frame.image.photometric_interpretation == "MONOCHROME1"


# Where transformations are


def functional_groups(data_set: "Dataset", number: int) -> list["Dataset"]:
    """The functional groups of a frame, its own before those of all (PS3.3 §C.7.6.16)."""
    own = _items(data_set, "PerFrameFunctionalGroupsSequence")
    return [*own[number - 1 : number], *_items(data_set, "SharedFunctionalGroupsSequence")[:1]]


def _items(data_set: "Dataset", keyword: str) -> list["Dataset"]:
    value = data_set.get(keyword)
    return [] if value is None or isinstance(value, (str, bytes)) else list(value)


def sources(groups: list["Dataset"], data_set: "Dataset", keyword: str) -> list["Dataset"]:
    """Where an attribute may be: in a macro of the frame, of all frames, or in the image itself."""
    return [*(item for group in groups for item in _items(group, keyword)[:1]), data_set]


def number_of(data_set: "Dataset", keyword: str) -> float | None:
    """The first value of an attribute, if it is a number that can be reckoned with."""
    value = data_set.get(keyword)
    if value is not None and not isinstance(value, (str, bytes, int, float)) and hasattr(value, "__getitem__"):
        value = value[0] if len(value) else None
    return finite(value)


def finite(value: Any) -> float | None:
    """A value as a number; None for what is none, or not finite."""
    try:
        number = float(value) if value is not None and value != "" else math.nan
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


# What they are


def _modality(data_set: "Dataset", groups: list["Dataset"], image: Image) -> _Transformation:
    """Modality LUT, or rescale slope and intercept (PS3.3 §C.11.1)."""
    sequence = _items(data_set, "ModalityLUTSequence")
    if sequence:
        table, descriptor = _table(sequence[0], signed=bool(image.pixel_representation))
        return lambda values: looked_up(table, descriptor.first, values)
    for source in sources(groups, data_set, "PixelValueTransformationSequence"):
        slope, intercept = number_of(source, "RescaleSlope"), number_of(source, "RescaleIntercept")
        if slope is not None or intercept is not None:
            factor, summand = 1.0 if slope is None else slope, intercept or 0.0
            return lambda values: values * factor + summand
    return lambda values: values


def _voi(groups: list["Dataset"], data_set: "Dataset", asked: Window | None) -> _Transformation | None:
    """Fractions of what is to be seen (PS3.3 §C.11.2): by the window asked for, the first VOI LUT, the first window.

    None where there is nothing of all that. Raises CannotRender for a window that no request should have got here with.
    """
    if asked is not None:
        if finite(asked.center) is None or (finite(asked.width) or 0.0) <= 0 or asked.function not in _FUNCTIONS:
            raise CannotRender("the window asked for is none: its width is not positive, or its function not known")
        return functools.partial(_windowed, window=asked)
    lut = _voi_lut(groups, data_set)
    window = None if lut else _window(groups, data_set)
    return functools.partial(_windowed, window=window) if window else lut


def _voi_lut(groups: list["Dataset"], data_set: "Dataset") -> _Transformation | None:
    """The first VOI LUT, giving fractions of its greatest value (PS3.3 §C.11.2.1.1); None where there is none."""
    for source in sources(groups, data_set, "FrameVOILUTSequence"):
        sequence = _items(source, "VOILUTSequence")
        if sequence:
            table, descriptor = _table(sequence[0], signed=False)
            greatest = float((1 << descriptor.bits) - 1)
            return lambda values: looked_up(table, descriptor.first, values) / greatest
    return None


def _window(groups: list["Dataset"], data_set: "Dataset") -> Window | None:
    """The first window (PS3.3 §C.11.2.1.2); None where there is none that can be used."""
    for source in sources(groups, data_set, "FrameVOILUTSequence"):
        center, width = number_of(source, "WindowCenter"), number_of(source, "WindowWidth")
        function = str(source.get("VOILUTFunction") or _LINEAR).strip().upper()
        if center is not None and width is not None and width > 0:
            return Window(center, width, function if function in (_LINEAR_EXACT, _SIGMOID) else _LINEAR)
    return None


def _windowed(values: "NDArray[Any]", window: Window) -> "NDArray[Any]":
    """Fractions of what is to be seen (PS3.3 §C.11.2.1.2.1, §C.11.2.1.3.1, §C.11.2.1.3.2)."""
    import numpy

    if window.function == _SIGMOID:
        return 1.0 / (1.0 + numpy.exp(numpy.clip(-4.0 * (values - window.center) / window.width, -700.0, 700.0)))
    if window.function == _LINEAR_EXACT:
        return (values - window.center) / window.width + 0.5
    if window.width <= 1:
        return (values > window.center - 0.5).astype(numpy.float64)
    return (values - (window.center - 0.5)) / (window.width - 1.0) + 0.5


def _table(item: "Dataset", *, signed: bool) -> tuple["NDArray[Any]", Descriptor]:
    """A lookup table, its entries as numbers that can be reckoned with."""
    import numpy

    descriptor = descriptor_of(item.get("LUTDescriptor"), signed=signed)
    return entries_of(item, "LUTData", descriptor).astype(numpy.float64), descriptor
