"""Rendered images (PS3.18 §10.4.1.1.3, §10.4.1.1.4): which frame stands for a resource, and the image of it.

    study --a series of images--> series --the middle of its instances--> instance --representative frame--> image

What stands for a study or series is found with a few storage calls, whatever their size, and stays the same until
something is stored or deleted. Of a series of more than a page of the index, that is the middle of the first page. What
no codec decodes stands for something only where there is nothing else.

Left out: what the client wants of the image (dicomweb/rendered.py), how it is made (dicom/rendering.py).
"""

import io
import math
from dataclasses import dataclass

import pydicom

from shared.dicom.attributes import MODALITY
from shared.dicom.codecs import DECODABLE
from shared.dicom.matching import values_of
from shared.dicom.rendering import Rendering, render
from shared.errors import NotFound
from shared.model import InstanceKey, JsonDataSet, Scope, Series, StoredInstance
from shared.services.pixels import COLUMNS, InstancePixels, PixelReader
from shared.services.retrieve import RetrieveService, not_found

#: Series of a study, and instances of a series, that are looked at for one with pixel data.
TRIED = 8

#: Modalities whose objects are no pictures, or say something about others (PS3.3 §C.7.3.1.1.1): the last to be shown.
_NO_PICTURES = frozenset(
    "ANN ASMT AU CTPROTOCOL DOC ECG EEG EMG EOG EPS FID HD KO M3D PLAN POS PR REG RESP RTDOSE RTPLAN RTRECORD "
    "RTSTRUCT RWV SEG SMR SR SRF STAIN TEXTUREMAP XAPROTOCOL".split()
)
_SERIES_NUMBER = "00200011"
_REPRESENTATIVE_FRAME = "00286010"


@dataclass(frozen=True, slots=True)
class Picture:
    """The frame that stands for a resource, counted from 1."""

    pixels: InstancePixels
    number: int

    @property
    def version(self) -> str:
        """The version id of its instance."""
        return self.pixels.instance.version


class RenderingService:
    """Renders what one archive holds."""

    def __init__(self, retrieve: RetrieveService, pixels: PixelReader) -> None:
        self._retrieve = retrieve
        self._pixels = pixels

    async def find(self, scope: Scope, number: int | None, *, middle: bool) -> Picture:
        """What to show of a resource: frame `number` of an instance, or the one that stands for it.

        Where the data set names no representative frame that is the first one or, with `middle`, the one in the middle.
        Raises NotFound when there is no such resource, or none with pixel data.
        """
        if scope.series is not None and scope.instance is not None:
            key = InstanceKey(scope.study, scope.series, scope.instance)
            found = await self._pixels.pixels_of(await self._retrieve.instance(key, COLUMNS))
        else:
            found = await self._representative(scope)
        count = found.table.count
        if number is None:
            return Picture(found, _representative_frame(found.metadata, count) or ((count + 1) // 2 if middle else 1))
        if number > count:
            raise NotFound("The specified frame cannot be found.")
        return Picture(found, number)

    async def render(self, picture: Picture, rendering: Rendering) -> bytes:
        """The image. Raises CannotTranscode or CannotRender when it cannot be made, BadRequest as `render` does."""
        rest = await self._pixels.rest(picture.pixels.instance)

        def draw(stored: bytes) -> bytes:
            frame = self._pixels.decode(picture.pixels, stored)
            return render(pydicom.dcmread(io.BytesIO(rest), force=True), frame, picture.number, rendering)

        return await self._pixels.with_frame(picture.pixels, picture.number, draw)

    async def _representative(self, scope: Scope) -> InstancePixels:
        """The instance that stands for a study or series."""
        index = self._pixels.archive.index
        if scope.series is not None:
            candidates = [scope.series]
        else:
            candidates = [each.uid for each in sorted(await index.list_series(scope.study), key=_as_shown)]
        seen, undecodable = False, None
        for series in candidates[:TRIED]:
            first_page: list[StoredInstance] = await anext(index.list_instances(scope.study, series), [])
            seen = seen or bool(first_page)
            found = await self._with_pixels(_from_the_middle(first_page)[:TRIED])
            if found is not None and found.transfer_syntax in DECODABLE:
                return await self._pixels.pixels_of(found)
            undecodable = undecodable or found
        if undecodable is not None:
            # Rendering it says why it cannot be shown.
            return await self._pixels.pixels_of(undecodable)
        raise NotFound("There is no image to show.") if seen else not_found(scope)

    async def _with_pixels(self, instances: list[StoredInstance]) -> StoredInstance | None:
        """The first of some instances that has frames, reread with what is needed to show them."""
        for instance in instances:
            reread = await self._pixels.archive.index.get_instance(instance.key, COLUMNS)
            if reread is not None and (reread.frames is not None or reread.frames_apart):
                return reread
        return None


def _as_shown(series: Series) -> tuple[bool, float, int, str]:
    """Pictures first, then by Series Number, then as they were stored."""
    modality = next(iter(values_of(series.attributes, MODALITY)), "")
    number = next(iter(series.attributes.get(_SERIES_NUMBER, {}).get("Value", ())), None)
    known = number if isinstance(number, int) else math.inf
    return (modality in _NO_PICTURES, known, series.created, series.uid)


def _from_the_middle(instances: list[StoredInstance]) -> list[StoredInstance]:
    """Instances by Instance Number, then as they were stored: the middle one first, then its neighbours.

    Those that cannot be decoded come last.
    """
    ordered = sorted(instances, key=lambda each: (_counted(each.number), each.created, each.key))
    middle = len(ordered) // 2
    outwards = [ordered[position] for position in sorted(range(len(ordered)), key=lambda each: abs(each - middle))]
    return sorted(outwards, key=lambda each: each.transfer_syntax not in DECODABLE)


def _counted(number: str) -> float:
    """An Instance Number; those without one come last."""
    return float(number) if number else math.inf


def _representative_frame(metadata: JsonDataSet, count: int) -> int | None:
    """Representative Frame Number, where it names a frame."""
    for number in metadata.get(_REPRESENTATIVE_FRAME, {}).get("Value", ())[:1]:
        if isinstance(number, int) and 1 <= number <= count:
            return number
    return None
