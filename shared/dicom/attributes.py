"""Which attributes the index knows: what can be searched, and what study and series rows remember.

The searchable attributes are those of the Azure DICOM service (its conformance statement, "Searchable attributes"),
joined with those PS3.18 Table 10.6.1-5 requires; the remembered ones are the default and `all` return attributes of
that service's v1 and v2, joined with those PS3.18 Table 10.6.3-3 to 10.6.3-5 require, so that the usual answers need no
instance row at all.

Facts. Attributes inside a sequence are named by a path, keywords or tags with dots between them (PS3.18 §8.3.4.1); any
item may match (PS3.4 §C.2.2.2.6). Two attributes of instances have no search rows of their own: they filter the
instances of the series that are found. Of SOPClassUID a series has search rows, so that its classes find the series.

Left out: what may be *returned*. Any attribute may be asked for with includefield; see services/search.py.
"""

from dataclasses import dataclass

from pydicom.datadict import dictionary_VR, keyword_dict, keyword_for_tag

from shared.model import Level

STUDY_INSTANCE_UID = "0020000D"
SERIES_INSTANCE_UID = "0020000E"
SOP_INSTANCE_UID = "00080018"
SOP_CLASS_UID = "00080016"
INSTANCE_NUMBER = "00200013"
PATIENT_ID = "00100020"
PATIENT_NAME = "00100010"
MODALITY = "00080060"
MODALITIES_IN_STUDY = "00080061"
STUDY_DATE = "00080020"
NUMBER_OF_STUDY_RELATED_SERIES = "00201206"
NUMBER_OF_STUDY_RELATED_INSTANCES = "00201208"
NUMBER_OF_SERIES_RELATED_INSTANCES = "00201209"
AVAILABLE_TRANSFER_SYNTAX_UID = "00083002"
TIMEZONE_OFFSET_FROM_UTC = "00080201"


@dataclass(frozen=True, slots=True)
class SearchAttribute:
    """One searchable attribute: `tag` is eight upper-case hex digits, `vr` says how its values match.

    Inside a sequence `tag` and `keyword` are paths with dots. `indexed`: whether there are search rows of it. One that
    has `parts`, a date and a time, is the moment both tell; in `zone`, minutes east of UTC, if that is not None.
    """

    tag: str
    keyword: str
    vr: str
    level: Level
    indexed: bool = True
    parts: tuple[str, ...] = ()
    zone: int | None = None

    @property
    def path(self) -> tuple[str, ...]:
        """The tags from the top: one, or those of the sequences it is in and its own."""
        return tuple(self.tag.split("."))


def _searchable(level: Level, *keywords: str, indexed: bool = True) -> tuple[SearchAttribute, ...]:
    found = []
    for keyword in keywords:
        numbers = [keyword_dict[piece] for piece in keyword.split(".")]
        tag = ".".join(f"{number:08X}" for number in numbers)
        found.append(SearchAttribute(tag, keyword, dictionary_VR(numbers[-1]), level, indexed))
    return tuple(found)


#: Most selective first within a level: a search is driven by the first of its attributes in this order.
SEARCHABLE: tuple[SearchAttribute, ...] = (
    *_searchable(
        Level.STUDY,
        "StudyInstanceUID",
        "AccessionNumber",
        "PatientID",
        "PatientName",
        "PatientBirthDate",
        "StudyDate",
        "StudyTime",
        "StudyID",
        "ReferringPhysicianName",
        "StudyDescription",
        "ModalitiesInStudy",
    ),
    *_searchable(
        Level.SERIES,
        "SeriesInstanceUID",
        "RequestAttributesSequence.ScheduledProcedureStepID",
        "RequestAttributesSequence.RequestedProcedureID",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
        "SeriesNumber",
        "ManufacturerModelName",
        "Modality",
    ),
    *_searchable(Level.INSTANCE, "SOPInstanceUID"),
    *_searchable(Level.INSTANCE, "SOPClassUID", "InstanceNumber", indexed=False),
)

SEARCHABLE_BY_TAG = {attribute.tag: attribute for attribute in SEARCHABLE}

#: What a series remembers for searches by SOPClassUID: the classes of its instances, all of them.
CLASSES_IN_SERIES = SearchAttribute(SOP_CLASS_UID, "SOPClassUID", "UI", Level.SERIES)

#: What the original service indexes; version 1 stores no instance in which one of these breaks its rules.
ORIGINALLY_INDEXED = frozenset(
    "0020000D 00100010 00100020 00100030 00080050 00080090 00080020 00081030 0020000E 00080060 00400244 00081090 "
    "00080018".split()
)

#: The moments that a date and a time tell together, by the tag of the date (PS3.4 §C.2.2.2.5).
MOMENTS = {
    date.tag: SearchAttribute(
        f"{date.tag}+{time.tag}", f"{date.keyword}+{time.keyword}", "DT", date.level, False, (date.tag, time.tag)
    )
    for date, time in (
        (SEARCHABLE_BY_TAG[STUDY_DATE], SEARCHABLE_BY_TAG["00080030"]),
        (SEARCHABLE_BY_TAG["00400244"], SEARCHABLE_BY_TAG["00400245"]),
    )
}

#: Dates that order an answer to a range search: newest date first (docs/storage-format.md, "Order").
ORDERING_DATES = frozenset({STUDY_DATE, "00400244"})

#: What a study row remembers, besides what it computes.
STUDY_ATTRIBUTES = frozenset(
    "00080005 00080020 00080030 00080050 00080056 00080090 00080201 00081030 00080063 00081032 00081048 00081060 "
    "00081080 00081110 00100010 00100020 00100021 00100030 00100032 00100040 00101001 00101010 00101020 00101030 "
    "00102160 00102180 001021B0 00104000 0020000D 00200010 00321032 00080060".split()
)

#: What a series row remembers, besides what it computes.
SERIES_ATTRIBUTES = frozenset(
    "00080005 00080021 00080031 00080060 00080070 00080201 0008103E 00081090 00180015 0020000D 0020000E 00200011 "
    "00200060 00400244 00400245 00400275".split()
)

#: Attributes the index computes; a data set's own values of them are never looked at.
COMPUTED = frozenset(
    {
        MODALITIES_IN_STUDY,
        NUMBER_OF_STUDY_RELATED_SERIES,
        NUMBER_OF_STUDY_RELATED_INSTANCES,
        NUMBER_OF_SERIES_RELATED_INSTANCES,
    }
)


def keyword_of(tag: str) -> str:
    """The keyword of a tag of eight hex digits, or "" for one the dictionary does not hold (PS3.6 §6)."""
    return keyword_for_tag(int(tag, 16))


def path_of(name: str) -> str | None:
    """The tags, with dots between them, that a path of keywords or hex tags names; None when it names none."""
    tags = [tag_of(piece) for piece in name.split(".")]
    return None if None in tags else ".".join(tag or "" for tag in tags)


def tag_of(name: str) -> str | None:
    """The tag, as eight upper-case hex digits, that a keyword or a hex tag names; None when it names none.

    Keywords are case-sensitive (PS3.18 §8.3.4.1). A hex tag need not be in the dictionary: private ones are fine.
    """
    if len(name) == 8 and all(digit in "0123456789abcdefABCDEF" for digit in name):
        return name.upper()
    number = keyword_dict.get(name) if name else None  # retired elements of the dictionary have no keyword
    return None if number is None else f"{number:08X}"
