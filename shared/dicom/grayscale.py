"""From the stored values of a grayscale frame to eight bits: the grayscale pipeline (PS3.4 §N.2, PS3.3 §C.11).

    stored value --modality LUT--> what was measured --VOI LUT--> what is to be seen --presentation LUT--> 0 to 255

Decides which transformation counts where a data set has several: those of the frame before those of all frames before
those of the image; a window that the client asks for before a VOI LUT before the first window of the data set. Where
there is neither, images of at most eight bits show their whole range, others that of the values of the frame.

Facts
- Integer values of a frame span few numbers, so that a table of all of them is transformed, and the frame looked up.
- Padding values (PS3.3 §C.7.5.1.1.2) do not count for the range of the values.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.dicom.image import Frame
from shared.errors import CannotRender

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

#: Numbers between the least and the greatest value up to which a table of them is made.
_TABLE = 1 << 17
#: Entries of a lookup table; a descriptor that says 0 means so many (PS3.3 §C.11.1.1).
_MOST_ENTRIES = 1 << 16

_LINEAR, _LINEAR_EXACT, _SIGMOID = "LINEAR", "LINEAR_EXACT", "SIGMOID"


@dataclass(frozen=True, slots=True)
class Window:
    """A window (PS3.3 §C.11.2.1.2), in the units of what was measured; `function` is a VOI LUT Function."""

    center: float
    width: float
    function: str = _LINEAR


def grey(data_set: "Dataset", frame: Frame, number: int, window: Window | None) -> "NDArray[Any]":
    """A frame, counted from 1, as uint8 of shape (rows, columns). Raises CannotRender for values that make no sense."""
    import numpy

    values = frame.array()
    if values.dtype.kind == "f":
        values = numpy.nan_to_num(values.astype(numpy.float64), posinf=0.0, neginf=0.0)
    groups = _functional_groups(data_set, number)
    modality = _modality(data_set, groups)
    lowest, highest = (int(values.min()), int(values.max())) if values.dtype.kind != "f" else (0, _TABLE)
    if highest - lowest < _TABLE and values.dtype.kind != "f":
        measured = modality(numpy.arange(lowest, highest + 1, dtype=numpy.float64))
        present = _presence(values, lowest, highest)
        shown = _shown(
            data_set, frame, groups, window, measured, measured[present & ~_padding(data_set, lowest, highest)]
        )
        return shown[values.astype(numpy.int64) - lowest]
    measured = modality(values.astype(numpy.float64))
    return _shown(data_set, frame, groups, window, measured, measured)


def _shown(
    data_set: "Dataset",
    frame: Frame,
    groups: list["Dataset"],
    window: Window | None,
    measured: "NDArray[Any]",
    counted: "NDArray[Any]",
) -> "NDArray[Any]":
    """What was measured as 0 to 255; `counted` are the values whose range counts where nothing says what to show."""
    import numpy

    if window is None and (lut := _voi_lut(groups, data_set)) is not None:
        fraction = lut(measured)
    else:
        chosen = window or _window(groups, data_set)
        fraction = _windowed(measured, chosen) if chosen else _stretched(frame, data_set, groups, measured, counted)
    if _is_inverted(data_set, frame):
        fraction = 1.0 - fraction
    return numpy.floor(numpy.clip(fraction, 0.0, 1.0) * 255.0 + 0.5).astype(numpy.uint8)


def _stretched(
    frame: Frame, data_set: "Dataset", groups: list["Dataset"], measured: "NDArray[Any]", counted: "NDArray[Any]"
) -> "NDArray[Any]":
    import numpy

    bits = frame.image.bits_stored
    if not frame.image.floating and bits <= 8:
        lowest = -(1 << bits - 1) if frame.image.pixel_representation else 0
        ends = _modality(data_set, groups)(numpy.array([lowest, lowest + (1 << bits) - 1], dtype=numpy.float64))
        low, high = float(ends.min()), float(ends.max())
    elif counted.size:
        low, high = float(counted.min()), float(counted.max())
    else:
        low, high = 0.0, 0.0
    return (measured - low) / (high - low) if high > low else numpy.zeros_like(measured)


def _presence(values: "NDArray[Any]", lowest: int, highest: int) -> "NDArray[Any]":
    """Which of the numbers from the lowest to the highest value are values of the frame."""
    import numpy

    present = numpy.zeros(highest - lowest + 1, dtype=bool)
    present[values.astype(numpy.int64).ravel() - lowest] = True
    return present


def _padding(data_set: "Dataset", lowest: int, highest: int) -> "NDArray[Any]":
    """Which of the numbers are padding (Pixel Padding Value and Pixel Padding Range Limit)."""
    import numpy

    numbers = numpy.arange(lowest, highest + 1)
    first = number_of(data_set, "PixelPaddingValue")
    if first is None:
        return numpy.zeros(numbers.shape, dtype=bool)
    last = number_of(data_set, "PixelPaddingRangeLimit")
    low, high = sorted((first, first if last is None else last))
    return (numbers >= low) & (numbers <= high)


def _is_inverted(data_set: "Dataset", frame: Frame) -> bool:
    shape = str(data_set.get("PresentationLUTShape") or "").strip().upper()
    return shape == "INVERSE" or frame.image.photometric_interpretation == "MONOCHROME1"


# Where transformations are


def _functional_groups(data_set: "Dataset", number: int) -> list["Dataset"]:
    """The functional groups of a frame, its own before those of all (PS3.3 §C.7.6.16)."""
    own = _items(data_set, "PerFrameFunctionalGroupsSequence")
    return [*own[number - 1 : number], *_items(data_set, "SharedFunctionalGroupsSequence")[:1]]


def _items(data_set: "Dataset", keyword: str) -> list["Dataset"]:
    value = data_set.get(keyword)
    return [] if value is None or isinstance(value, (str, bytes)) else list(value)


def _sources(groups: list["Dataset"], data_set: "Dataset", keyword: str) -> list["Dataset"]:
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


type _Transformation = Callable[["NDArray[Any]"], "NDArray[Any]"]


def _modality(data_set: "Dataset", groups: list["Dataset"]) -> _Transformation:
    """Modality LUT, or rescale slope and intercept (PS3.3 §C.11.1)."""
    sequence = _items(data_set, "ModalityLUTSequence")
    if sequence:
        table, first, _ = _table(sequence[0])
        return lambda values: _looked_up(table, first, values)
    for source in _sources(groups, data_set, "PixelValueTransformationSequence"):
        slope, intercept = number_of(source, "RescaleSlope"), number_of(source, "RescaleIntercept")
        if slope is not None or intercept is not None:
            factor, summand = 1.0 if slope is None else slope, intercept or 0.0
            return lambda values: values * factor + summand
    return lambda values: values


def _voi_lut(groups: list["Dataset"], data_set: "Dataset") -> _Transformation | None:
    """The first VOI LUT, giving fractions of its greatest value (PS3.3 §C.11.2.1.1); None where there is none."""
    for source in _sources(groups, data_set, "FrameVOILUTSequence"):
        sequence = _items(source, "VOILUTSequence")
        if sequence:
            table, first, greatest = _table(sequence[0])
            return lambda values: _looked_up(table, first, values) / greatest
    return None


def _window(groups: list["Dataset"], data_set: "Dataset") -> Window | None:
    """The first window (PS3.3 §C.11.2.1.2); None where there is none that can be used."""
    for source in _sources(groups, data_set, "FrameVOILUTSequence"):
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


def _table(item: "Dataset") -> tuple["NDArray[Any]", float, float]:
    """A lookup table: its entries, the value of the first, and the greatest entry its bits allow."""
    import numpy

    descriptor, data = item.get("LUTDescriptor"), item.get("LUTData")
    if descriptor is None or data is None or isinstance(descriptor, (str, bytes)) or len(descriptor) < 3:
        raise CannotRender("a lookup table of the image is incomplete")
    count, first, bits = int(descriptor[0]), float(descriptor[1]), int(descriptor[2])
    count = count or _MOST_ENTRIES
    if isinstance(data, bytes):
        packed = len(data) < 2 * count and bits <= 8
        entries = numpy.frombuffer(data[: len(data) // 2 * 2], numpy.uint8 if packed else numpy.dtype("<u2"))
    else:
        values = data if hasattr(data, "__len__") else [data]
        entries = numpy.array([int(value) & 0xFFFF for value in values[:_MOST_ENTRIES]], dtype=numpy.uint16)
    entries = entries[:count].astype(numpy.float64)
    if not entries.size or not 1 <= bits <= 16:
        raise CannotRender("a lookup table of the image is empty or has an impossible descriptor")
    return entries, first, float((1 << bits) - 1)


def _looked_up(table: "NDArray[Any]", first: float, values: "NDArray[Any]") -> "NDArray[Any]":
    import numpy

    places = numpy.clip(numpy.floor(values - first), 0, table.size - 1).astype(numpy.int64)
    return table[places]
