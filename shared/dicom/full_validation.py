"""Which elements of a data set, at any depth, hold a value that their VR forbids, and the metadata without them.

    data set, its DICOM JSON --invalid_elements--> where and why --without--> DICOM JSON

Version 2 of the original service stores such an instance and leaves the elements out of metadata and index. Deviation:
the original drops by tag from the top level alone, so that an invalid value inside a sequence costs a valid one of the
same tag outside it, and stays itself. Here exactly the elements that are invalid go, wherever they are.

Left out: the rules themselves (value_rules.py), and what is required of an instance (validation.py).
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset

from shared.dicom.json_model import BULK_VRS
from shared.dicom.validation import REQUIRED, Finding
from shared.dicom.value_rules import broken
from shared.model import JsonDataSet

#: From the top: tags of eight hex digits, with 0-based item indexes between them.
type Path = tuple[str | int, ...]

#: Comments on one instance; bounds what a file of nothing but odd elements makes of an answer.
MAX_COMMENTS = 100

_KEPT = frozenset(REQUIRED)


@dataclass(frozen=True, slots=True)
class InvalidElements:
    """The elements to leave out, and one finding for each distinct tag, at most `MAX_COMMENTS`."""

    paths: tuple[Path, ...]
    findings: tuple[Finding, ...]


def invalid_elements(data_set: Dataset, metadata: JsonDataSet) -> InvalidElements:
    """The elements of a data set whose value breaks a rule of its VR, in the order of the data set.

    `metadata` is the DICOM JSON of that data set. The attributes no instance is stored without are spoken of, but
    never left out: they name the instance.
    """
    paths: list[Path] = []
    findings: dict[str, Finding] = {}
    for path, message in _walk(data_set, metadata, ()):
        tag = str(path[-1])
        if path not in _KEPT_PATHS:
            paths.append(path)
        if len(findings) < MAX_COMMENTS:
            findings.setdefault(tag, Finding(tag, message))
    return InvalidElements(tuple(paths), tuple(findings.values()))


_KEPT_PATHS = frozenset((tag,) for tag in _KEPT)


def _walk(data_set: Dataset, metadata: JsonDataSet, above: Path) -> Iterator[tuple[Path, str]]:
    for tag, element in metadata.items():
        vr = element["vr"]
        if vr in BULK_VRS:
            continue
        values = element.get("Value", ())
        if vr == "SQ":
            items = zip(data_set[int(tag, 16)].value, values, strict=True) if values else ()
            for index, (item, item_metadata) in enumerate(items):
                yield from _walk(item, item_metadata, (*above, tag, index))
            continue
        message = broken(vr, getattr(data_set.get_item(int(tag, 16)), "value", None), values)
        if message is not None:
            yield (*above, tag), message


def without(metadata: JsonDataSet, paths: Collection[Path]) -> JsonDataSet:
    """The metadata without the elements at these paths. What does not change is shared with `metadata`."""
    if not paths:
        return metadata
    below: dict[str | int, list[Path]] = {}
    gone: set[str | int] = set()
    for head, *rest in paths:
        if rest:
            below.setdefault(head, []).append(tuple(rest))
        else:
            gone.add(head)
    return {
        tag: _without_nested(element, below[tag]) if tag in below else element
        for tag, element in metadata.items()
        if tag not in gone
    }


def _without_nested(element: Mapping[str, Any], paths: Collection[Path]) -> Mapping[str, Any]:
    by_item: dict[str | int, list[Path]] = {}
    for index, *rest in paths:
        by_item.setdefault(index, []).append(tuple(rest))
    items = [without(item, by_item.get(index, ())) for index, item in enumerate(element["Value"])]
    return {**element, "Value": items}
