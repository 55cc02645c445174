"""The tables of docs/conformance.md, made from the code.

`python -m tests.docs.conformance_tables` writes them into the page; tests/docs/test_conformance.py fails when the page
says something else.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pydicom.datadict import keyword_for_tag
from pydicom.uid import UID

from shared.config import Settings
from shared.dicom import codecs, composing, full_validation, matching, walk
from shared.dicom.attributes import SEARCHABLE, SearchAttribute
from shared.dicomweb import media_types, multipart, query, rendered, uids
from shared.dicomweb.negotiation import DOCUMENT_MEDIA, IMAGE_MEDIA, OFFERS, ORIGINAL, VIDEO_MEDIA, Offer
from shared.dicomweb.operations import OPERATIONS
from shared.dicomweb.search_response import DEFAULTS
from shared.dicomweb.store_response import FailureReason, WarningReason
from shared.dicomweb.versions import VERSIONS
from shared.model import Level
from shared.services import composed, store
from shared.storage import search_rows, texts
from shared.web import body
from shared.web.problems import STATUS

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "conformance.md"
_MARKED = re.compile(r"(<!-- table: ([a-z-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)

#: The same words for every level.
LEVELS = {Level.STUDY: "study", Level.SERIES: "series", Level.INSTANCE: "instance"}

_RESOURCES = {
    "`studies`": query.STUDIES,
    "`series`": query.ALL_SERIES,
    "`instances`": query.ALL_INSTANCES,
    "`studies/{study}/series`": query.STUDY_SERIES,
    "`studies/{study}/instances`": query.STUDY_INSTANCES,
    "`studies/{study}/series/{series}/instances`": query.SERIES_INSTANCES,
}


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _routes() -> str:
    return markdown(
        ("Methods", "Path", "What", "Clause"),
        (
            (", ".join(each.methods), f"`/{each.path}`", each.summary, each.clause or "of the original service")
            for each in OPERATIONS
        ),
    )


def _named(syntax: str) -> str:
    return "as stored" if syntax == ORIGINAL else f"{UID(syntax).name} `{syntax}`"


def _short(syntaxes: Iterable[str]) -> str:
    return ", ".join(f"`{syntax}`" for syntax in syntaxes)


def _form(offer: Offer) -> str:
    return " or ".join("parts" if multipart else "single part" for multipart in offer.forms)


def _media() -> str:
    return markdown(
        ("Resource", "Media type", "Form", "`transfer-syntax` may be", "and means, when absent"),
        (
            (
                resource.value,
                f"`{offer.media}`",
                _form(offer),
                _short(offer.targets)
                + ("" if offer.carries is None else f", or what is stored: {_short(sorted(offer.carries))}"),
                ", else ".join("as stored" if syntax == ORIGINAL else f"`{syntax}`" for syntax in offer.meant),
            )
            for resource, offers in OFFERS.items()
            for offer in offers
        ),
    )


def _codecs() -> str:
    known = [*IMAGE_MEDIA.items(), *VIDEO_MEDIA.items()]
    media = {syntax: name for name, syntaxes in known for syntax in syntaxes}
    order = sorted({*codecs.DECODABLE, *media}, key=lambda uid: [int(piece) for piece in uid.split(".")])
    return markdown(
        ("Transfer syntax", "Decoded", "Encoded", "Media type of frames as stored"),
        (
            (
                _named(uid),
                "yes" if uid in codecs.DECODABLE else "no",
                "yes" if uid in codecs.ENCODABLE else "no",
                f"`{media[uid]}`, `application/octet-stream`" if uid in media else "`application/octet-stream`",
            )
            for uid in order
        ),
    )


def _matching_of(attribute: SearchAttribute) -> str:
    match attribute.vr:
        case "DA" | "TM":
            return "single value, range"
        case "UI":
            return "single value, list"
        case "IS":
            return "number"
        case "PN":
            return "single value, wildcards, fuzzy"
        case "CS":
            return "single value, list, wildcards"
        case _:
            return "single value, wildcards"


def _attributes() -> str:
    return markdown(
        ("Attribute", "Tag", "VR", "Level", "Matching"),
        (
            (f"`{each.keyword}`", f"`{each.tag}`", each.vr, LEVELS[each.level], _matching_of(each))
            for each in sorted(SEARCHABLE, key=lambda each: (each.level, each.keyword))
        ),
    )


def _levels() -> str:
    def named(levels: Iterable[Level]) -> str:
        return ", ".join(LEVELS[level] for level in sorted(levels))

    return markdown(
        ("Resource", "may be searched by attributes of", "returns attributes of"),
        ((name, named(each.attributes_of), named(each.returned_of)) for name, each in _RESOURCES.items()),
    )


def _defaults() -> str:
    return markdown(
        ("Level", "Attributes"),
        (
            (LEVELS[level], ", ".join(f"{keyword_for_tag(int(tag, 16))} `{tag}`" for tag in sorted(tags)))
            for level, tags in DEFAULTS.items()
        ),
    )


def _reasons() -> str:
    reasons = [("Failure Reason (0008,1197)", FailureReason), ("Warning Reason (0008,1196)", WarningReason)]
    return markdown(
        ("Attribute", "Code", "Hex", "Meaning"),
        ((name, int(each), f"{int(each):04X}", each.sentence) for name, reason in reasons for each in reason),
    )


def _statuses() -> str:
    return markdown(
        ("Status", "When"),
        (
            (status, (error.__doc__ or "").strip().splitlines()[0])
            for error, status in sorted(STATUS.items(), key=lambda item: item[1])
        ),
    )


def _versions() -> str:
    def yes(value: bool) -> str:
        return "yes" if value else "no"

    return markdown(
        ("Path", "Invalid attributes are dropped with a warning", "A warning makes 202", "Lists failed attributes"),
        (
            (f"`/{name}`", yes(each.lenient_validation), yes(each.warnings_are_202), yes(each.lists_failed_attributes))
            for name, each in VERSIONS.items()
        ),
    )


def _limits() -> str:
    defaults = Settings(dicom_storage_connection="UseDevelopmentStorage=true")
    rows: list[tuple[str, object, str]] = [
        ("bytes of an instance", defaults.max_instance_bytes, "`MAX_INSTANCE_BYTES`; 413"),
        ("bytes of a data set without bulk values", defaults.max_header_bytes, "`MAX_HEADER_BYTES`; reason 43264"),
        ("elements and items of an instance", walk.MAX_ELEMENTS, "reason 43264"),
        ("sequences within sequences", walk.MAX_DEPTH, "reason 43264"),
        ("parts of a store request", body.MAX_PARTS, "400"),
        ("bytes of DICOM JSON in a store request", composed.MAX_METADATA_BYTES, "413"),
        ("values in it", composing.MAX_JSON_VALUES, "400"),
        ("data sets in it", composing.MAX_DATA_SETS, "400"),
        ("bytes of a part's headers", multipart.MAX_PART_HEADER_BYTES, "400"),
        ("characters of Accept", media_types.MAX_CHARACTERS, "400"),
        ("frames of a request", uids.MAX_FRAMES, "400"),
        ("comments on an instance that is stored", full_validation.MAX_COMMENTS, "the others are left out"),
        ("comments of an answer", store.MAX_COMMENTS, "the instances after that are answered without"),
        ("bytes of a frame that is decoded", defaults.max_transcode_bytes, "`MAX_TRANSCODE_BYTES`; 406"),
        ("pixels of a viewport's side", rendered.MAX_VIEWPORT, "400"),
        ("results of a page", query.GREATEST_LIMIT, "400"),
        ("parameters of a query", query.MAX_PARAMETERS, "400"),
        ("values of a list", query.MAX_LIST, "400"),
        ("items of a sequence that are searched", matching.MAX_ITEMS, "the others are not found"),
        ("modalities of a study that are searched", search_rows.MAX_MODALITIES, "the others are not found"),
        ("characters of a text that are searched for what is inside", texts.MAX_TEXT, "the rest is not found"),
        ("rows a search reads in vain", defaults.search_scan_rows, "`SEARCH_SCAN_ROWS`; cut short with a Warning"),
    ]
    return markdown(("Limit", "Value", "Beyond it"), rows)


def _rendered() -> str:
    return ", ".join(f"`{media}`" for media in rendered.RENDERED_MEDIA) + "\n"


def _documents() -> str:
    return ", ".join(f"`{media}`" for media in DOCUMENT_MEDIA) + "\n"


TABLES: dict[str, Callable[[], str]] = {
    "routes": _routes,
    "versions": _versions,
    "statuses": _statuses,
    "reasons": _reasons,
    "media": _media,
    "codecs": _codecs,
    "rendered": _rendered,
    "documents": _documents,
    "levels": _levels,
    "attributes": _attributes,
    "defaults": _defaults,
    "limits": _limits,
}


def tables_in(text: str) -> dict[str, str]:
    """What stands between the marks, by name."""
    return {name: content for _, name, content, _ in _MARKED.findall(text)}


def with_tables(text: str) -> str:
    """The page with the tables that the code makes."""
    return _MARKED.sub(lambda found: found[1] + TABLES[found[2]]() + found[4], text)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
