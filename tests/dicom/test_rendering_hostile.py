"""Rendering of what makes no sense: it is borne or refused, in bounded memory, and never quoted."""

import math
import tracemalloc
import warnings
from typing import Any

import numpy
import pydicom
import pytest
from hypothesis import given, settings, strategies
from pydicom import Dataset, Sequence
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from shared.dicom.image import Frame
from shared.dicom.rendering import Rendering, Viewport, Window, render
from shared.errors import CannotRender
from tests.dicom.pictures import RAMP, colour, floats, grey, lut, shown

PNG = Rendering("image/png")


def hostile(**elements: Any) -> Dataset:
    data_set = Dataset()
    with pydicom.config.disable_value_validation():
        for keyword, value in elements.items():
            if isinstance(value, tuple):
                data_set.add_new(keyword, *value)
            else:
                setattr(data_set, keyword, value)
    return data_set


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "data_set",
    [
        hostile(WindowCenter="40", WindowWidth="0"),
        hostile(WindowCenter="40", WindowWidth="-5"),
        hostile(WindowCenter="1e308", WindowWidth="1e-308", VOILUTFunction="SIGMOID"),
        hostile(WindowCenter="", WindowWidth=""),
        hostile(RescaleSlope="1e308", RescaleIntercept="1e308"),
        hostile(RescaleSlope="0", RescaleIntercept="5"),
        hostile(PixelPaddingValue=("US", 65535), PixelPaddingRangeLimit=("US", 0)),
        hostile(VOILUTSequence=Sequence([])),
        hostile(PerFrameFunctionalGroupsSequence=Sequence([Dataset()])),
        hostile(PixelAspectRatio=["0", "0"]),
    ],
    ids=lambda data_set: ",".join(element.keyword for element in data_set),
)
def test_values_that_make_no_sense_are_borne(data_set: Dataset) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert shown(data_set, grey(RAMP, signed=True), viewport=Viewport(20, 20)).shape == (8, 20)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "data_set",
    [
        hostile(VOILUTSequence=Sequence([Dataset()])),
        hostile(VOILUTSequence=lut([4, 0, 99], [1, 2, 3, 4])),
        hostile(ModalityLUTSequence=lut([4, 0, 16], b"")),
        hostile(ModalityLUTSequence=lut([4, 0], [1, 2, 3, 4])),
    ],
)
def test_lookup_tables_that_are_none_are_refused(data_set: Dataset) -> None:
    with pytest.raises(CannotRender):
        shown(data_set, grey(RAMP, signed=True))


def test_a_descriptor_that_promises_more_than_there_is_does_not_allocate_it() -> None:
    data_set = Dataset()
    data_set.VOILUTSequence = lut([0, 0, 16], [0, 65535])
    assert shown(data_set, grey([[0, 1], [2, 60000]])).tolist() == [[0, 255], [255, 255]]


@pytest.mark.parametrize(
    "window",
    [
        Window(0, 0, "LINEAR_EXACT"),
        Window(0, -1, "SIGMOID"),
        Window(math.nan, 1),
        Window(math.inf, 1),
        Window(0, math.nan),
        Window(0, math.inf),
        Window(0, 1, "CUBIC"),
    ],
)
def test_a_window_that_is_none_is_refused(window: Window) -> None:
    with pytest.raises(CannotRender, match="window"):
        shown(Dataset(), grey(RAMP, signed=True), window=window)


def test_rescaling_beyond_all_numbers_is_borne_in_silence() -> None:
    data_set = hostile(RescaleSlope="1e308", RescaleIntercept="1e308")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for bits in (8, 16, 32):
            assert shown(data_set, grey([[1, 2], [100, 200]], bits)).shape == (2, 2)


PIXELS = numpy.arange(4_000_000).reshape(2000, 2000)


@pytest.mark.parametrize(
    "frame",
    [
        grey(PIXELS % 251, 8),
        grey(PIXELS % 4096, 16),
        grey(PIXELS * 1000, 32),
        floats(PIXELS),
        colour(numpy.zeros((*PIXELS.shape, 3)), "YBR_FULL"),
        colour(numpy.zeros((*PIXELS.shape, 3)), "YBR_PARTIAL_422"),
        colour(numpy.zeros((*PIXELS.shape, 3)), bits=12),
    ],
    ids=["8 bits", "16 bits", "32 bits", "floats", "YBR_FULL", "YBR_PARTIAL", "12 bits of colour"],
)
def test_memory_is_a_small_multiple_of_the_image(frame: Frame) -> None:
    render(Dataset(), frame, 1, PNG)  # what is imported first does not count
    tracemalloc.start()
    try:
        render(Dataset(), frame, 1, PNG)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Two images of eight bits, a strip of a quarter of a million pixels in doubles, and what Frame.array shifts.
    image = PIXELS.size * frame.image.samples_per_pixel
    assert peak < 3 * image + len(frame.pixels) * 2 + 14_000_000


LUT_ITEMS = strategies.builds(
    lambda descriptor, data: lut(descriptor, data),
    strategies.lists(strategies.integers(0, 65535), max_size=4),
    strategies.binary(max_size=64) | strategies.lists(strategies.integers(0, 65535), min_size=1, max_size=9),
)
NUMBERS = strategies.sampled_from(["0", "-1", "1", "1e308", "-1e308", "1e-308", "", "0.5", "70000", "nan", "Smith"])
VALUES: dict[str, Any] = {
    "WindowCenter": NUMBERS,
    "WindowWidth": NUMBERS,
    "RescaleSlope": NUMBERS,
    "RescaleIntercept": NUMBERS,
    "VOILUTFunction": strategies.sampled_from(["SIGMOID", "LINEAR_EXACT", "", "\0", "Smith"]),
    "PresentationLUTShape": strategies.sampled_from(["INVERSE", "IDENTITY", "Smith"]),
    "PixelSpacing": strategies.lists(NUMBERS, max_size=3),
    "PixelAspectRatio": strategies.lists(NUMBERS, max_size=3),
    "PixelPaddingValue": strategies.integers(0, 65535),
    "PixelPaddingRangeLimit": strategies.integers(0, 65535),
    "VOILUTSequence": LUT_ITEMS,
    "ModalityLUTSequence": LUT_ITEMS,
    "RedPaletteColorLookupTableDescriptor": strategies.lists(strategies.integers(0, 65535), max_size=4),
    "RedPaletteColorLookupTableData": strategies.binary(max_size=64),
    "GreenPaletteColorLookupTableData": strategies.binary(max_size=64),
    "SegmentedGreenPaletteColorLookupTableData": strategies.binary(max_size=64),
    "SegmentedBluePaletteColorLookupTableData": strategies.binary(max_size=64),
}


def from_file(values: dict[str, Any]) -> Dataset:
    """A data set as one read from a file that holds these values, whether or not they are of their VR."""
    data_set = Dataset()
    for keyword, value in values.items():
        tag = Tag(keyword)
        vr = dictionary_VR(tag)
        if vr in ("DS", "IS", "CS", "LO"):
            raw = "\\".join([value] if isinstance(value, str) else value).encode()
            data_set[tag] = RawDataElement(tag, vr, len(raw), raw, 0, False, True)
        else:
            data_set.add_new(tag, {"US or SS": "US"}.get(vr, vr), value)
    return data_set


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@settings(max_examples=300, deadline=None)
@given(
    strategies.fixed_dictionaries({}, optional=VALUES),
    strategies.sampled_from(["MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "", "Smith"]),
    strategies.sampled_from([8, 16, 32]),
    strategies.booleans(),
)
def test_whatever_the_data_set_says_it_is_an_image_or_refused(
    values: dict[str, Any], photometric: str, bits: int, signed: bool
) -> None:
    frame = grey([[0, 1, 2], [77, 100, 127]], bits, signed, photometric)
    try:
        found = shown(from_file(values), frame, viewport=Viewport(6, 6))
    except CannotRender as refused:
        assert "Smith" not in str(refused)
    else:
        assert max(found.shape[:2]) == 6
