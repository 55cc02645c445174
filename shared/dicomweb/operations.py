"""Every operation of the service in one table, from which its descriptions are made (openapi.py, capabilities.py).

A row stands for one function of function_app.py: its route, its methods, what it reads of a request and what it
answers. What another table decides is taken from there and never written here: transfer syntaxes and most media types
(negotiation.py), searchable attributes (dicom/attributes.py) and the levels of a search resource (query.py).

Left out, because a client has no use for it: the misspelt route of the original service's tutorial
(`{version}/{study}/series/{series}/metadata`), which repeats that of a series' metadata.
"""

from collections.abc import Iterable

from shared.dicom.attributes import SEARCHABLE, SearchAttribute
from shared.dicom.matching import RANGE_VRS
from shared.dicomweb import query
from shared.dicomweb.negotiation import DICOM, DICOM_JSON, DOCUMENT_MEDIA, JSON, OCTET_STREAM, OFFERS, Resource
from shared.dicomweb.operation import (
    DESCRIPTION,
    WADL,
    XML,
    YAML,
    Answer,
    Operation,
    Parameter,
    Place,
    Representation,
    Shape,
    multipart_of,
)
from shared.dicomweb.query import SearchResource
from shared.dicomweb.rendered import RENDERED_MEDIA
from shared.errors import (
    BadRequest,
    Forbidden,
    NotAcceptable,
    NotFound,
    RangeNotSatisfiable,
    ServiceError,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnsupportedMedia,
)

#: What is said of a header of an answer.
ANSWER_HEADERS = {
    "api-supported-versions": "The versions of the service, separated by commas. Every answer has it.",
    "x-ms-request-id": "Names the request in the service's log. Every answer has it.",
    "Accept-Ranges": "bytes, where Range is honoured.",
    "Content-Disposition": "The name of the archive, where the answer is one.",
    "Content-Range": "Which bytes these are, of how many.",
    "Link": "The next page of results, as rel=next, where there is one.",
    "X-Total-Count": "How many results all pages have, where that is cheap to tell.",
    "ETag": "Names this state of the resource, for If-None-Match.",
    "Retry-After": "Seconds after which to try again.",
    "WWW-Authenticate": "Whose tokens count, and for which audience.",
    "Warning": "299 and a text, where there is more to say about a success.",
}

#: What is said of each error; its status is that of shared/web/problems.py.
FAILURES: dict[type[ServiceError], tuple[str, tuple[str, ...]]] = {
    BadRequest: ("The request breaks a rule: an unknown version, what is no UID, an unknown query parameter.", ()),
    Unauthenticated: ("Tokens are required, and there is none, or one that does not count.", ("WWW-Authenticate",)),
    Forbidden: ("The bearer of the token may not do this.", ()),
    NotFound: ("There is no such study, series, instance, frame or value.", ()),
    NotAcceptable: ("Nothing that Accept names is on offer, or can be made of what is stored.", ()),
    TooLarge: ("An instance is larger than the service stores.", ()),
    UnsupportedMedia: ("The body, or a part of it, is of a media type that cannot be stored.", ()),
    RangeNotSatisfiable: ("No byte of the representation is in the range asked for.", ("Content-Range",)),
    Unavailable: ("Storage is busy or out of reach.", ("Retry-After",)),
}

_STUDIES = "{version}/studies"
_STUDY = _STUDIES + "/{study}"
_SERIES = _STUDY + "/series/{series}"
_INSTANCE = _SERIES + "/instances/{instance}"
_FRAMES = _INSTANCE + "/frames/{frames}"
_LEVELS = (("Study", _STUDY, "a study"), ("Series", _SERIES, "a series"), ("Instance", _INSTANCE, "an instance"))

_READ = ("GET", "HEAD")
_READING = (BadRequest, NotFound, NotAcceptable, Unavailable)

_IF_NONE_MATCH = Parameter(
    Place.HEADER, "If-None-Match", "ETags that the client has: 304 if one of them is still right."
)
_RANGE = (
    Parameter(Place.HEADER, "Range", "One range of bytes."),
    Parameter(Place.HEADER, "If-Range", "The ETag of what the range is a part of."),
)
_UNCHANGED = Answer(304, "The client has it already.", headers=("ETag",))


def _on_offer(resource: Resource) -> tuple[Representation, ...]:
    return tuple(
        Representation(multipart_of(offer.media) if multipart else offer.media, Shape.BYTES, offer.targets)
        for offer in OFFERS[resource]
        for multipart in offer.forms
    )


def _json(shape: Shape) -> tuple[Representation, ...]:
    return (Representation(DICOM_JSON, shape),)


def _range_of(representations: tuple[Representation, ...]) -> tuple[Answer, ...]:
    return (
        Answer(200, "The bytes.", representations, ("Accept-Ranges", "ETag")),
        Answer(206, "The range of them that was asked for.", representations, ("Content-Range", "ETag")),
        _UNCHANGED,
    )


def _store() -> Iterable[Operation]:
    for name, path, what in (
        ("StoreInstances", _STUDIES, "instances"),
        ("StoreStudyInstances", _STUDY, "instances of one study"),
    ):
        yield Operation(
            name,
            ("POST", "PUT"),
            path,
            "Store",
            f"Store {what}: POST never replaces an instance, PUT does",
            "PS3.18 §10.5",
            (
                Answer(200, "All are stored.", _json(Shape.DATA_SET), ("Warning",)),
                Answer(
                    202,
                    "Some are not stored; from v2 on also: some drew a warning.",
                    _json(Shape.DATA_SET),
                    ("Warning",),
                ),
                Answer(204, "The body has no parts."),
                Answer(409, "None is stored.", _json(Shape.DATA_SET)),
            ),
            (BadRequest, NotAcceptable, TooLarge, UnsupportedMedia, Unavailable),
            body=tuple(map(Representation, (multipart_of(DICOM), DICOM, multipart_of(DICOM_JSON)))),
        )


def _retrieve() -> Iterable[Operation]:
    resources = {_STUDY: Resource.STUDY, _SERIES: Resource.SERIES, _INSTANCE: Resource.INSTANCE}
    for level, path, what in _LEVELS:
        whole = Answer(200, "The instances.", _on_offer(resources[path]), ("Content-Disposition",))
        single = path == _INSTANCE
        yield Operation(
            f"Retrieve{level}",
            _READ,
            path,
            "Retrieve",
            f"Retrieve {what}",
            "PS3.18 §10.4",
            _range_of(_on_offer(Resource.INSTANCE)) if single else (whole,),
            (*_READING, RangeNotSatisfiable) if single else _READING,
            (_IF_NONE_MATCH, *_RANGE) if single else (),
        )
        yield Operation(
            f"Retrieve{level}Metadata",
            _READ,
            path + "/metadata",
            "Metadata",
            f"Retrieve the metadata of {what}",
            "PS3.18 §10.4.1.1.2",
            (Answer(200, "One data set for each instance.", _json(Shape.DATA_SETS), ("ETag",)), _UNCHANGED),
            _READING,
            (_IF_NONE_MATCH,),
        )
    yield Operation(
        "RetrieveFrames",
        _READ,
        _FRAMES,
        "Retrieve",
        "Retrieve frames",
        "PS3.18 §10.4",
        _range_of(_on_offer(Resource.FRAMES)),
        (*_READING, RangeNotSatisfiable),
        (_IF_NONE_MATCH, *_RANGE),
    )


_VALUES = (Representation(multipart_of(OCTET_STREAM)),)
#: Of documents also what they are, and of pixel data what frames are offered as.
_ONE_VALUE = (
    Representation(OCTET_STREAM),
    *_VALUES,
    *(Representation(media) for media in DOCUMENT_MEDIA),
    *(each for each in _on_offer(Resource.FRAMES) if OCTET_STREAM not in each.media),
)


def _bulk_data() -> Iterable[Operation]:
    for level, path, what in _LEVELS:
        for suffix, name, values, clause in (
            ("bulkdata", "Bulkdata", "all bulk values", "PS3.18 §10.4.1.1.5"),
            ("pixeldata", "PixelData", "the pixel data", "PS3.18 §10.4.1.1.6"),
        ):
            yield Operation(
                f"Retrieve{level}{name}",
                _READ,
                f"{path}/{suffix}",
                "Bulk data",
                f"Retrieve {values} of {what}",
                clause,
                (Answer(200, "The values, one in each part.", _VALUES),),
                _READING,
            )
    yield Operation(
        "RetrieveBulkValue",
        _READ,
        _INSTANCE + "/bulkdata/{attribute}",
        "Bulk data",
        "Retrieve the value that a BulkDataURI names",
        "PS3.18 §10.4.1.1.5",
        _range_of(_ONE_VALUE),
        (*_READING, RangeNotSatisfiable),
        (_IF_NONE_MATCH, *_RANGE),
    )


_RENDERING = (
    Parameter(Place.QUERY, "quality", "Of a lossy image, best being 100", Shape.NUMBER, 1, 100),
    Parameter(Place.QUERY, "viewport", "vw,vh or vw,vh,sx,sy,sw,sh: the size to fit into, and the region to show"),
    Parameter(Place.QUERY, "window", "center,width,function: linear, linear-exact or sigmoid"),
)


def _rendered() -> Iterable[Operation]:
    images = tuple(Representation(media) for media in RENDERED_MEDIA)
    for level, path, what in (*_LEVELS, ("Frame", _FRAMES, "one frame")):
        for suffix, name, image, clause in (
            ("rendered", f"RetrieveRendered{level}", "image", "PS3.18 §10.4.1.1.3"),
            ("thumbnail", f"Retrieve{level}Thumbnail", "small image", "PS3.18 §10.4.1.1.4"),
        ):
            yield Operation(
                name,
                _READ,
                f"{path}/{suffix}",
                "Rendered",
                f"Retrieve the {image} of {what}",
                clause,
                _range_of(images),
                (*_READING, RangeNotSatisfiable),
                (*_RENDERING, _IF_NONE_MATCH, *_RANGE),
            )


def _search() -> Iterable[Operation]:
    for name, path, what, resource in (
        ("SearchForStudies", _STUDIES, "studies", query.STUDIES),
        ("SearchForSeries", "{version}/series", "series", query.ALL_SERIES),
        ("SearchForInstances", "{version}/instances", "instances", query.ALL_INSTANCES),
        ("SearchForStudySeries", _STUDY + "/series", "series of a study", query.STUDY_SERIES),
        ("SearchForStudyInstances", _STUDY + "/instances", "instances of a study", query.STUDY_INSTANCES),
        ("SearchForStudySeriesInstances", _SERIES + "/instances", "instances of a series", query.SERIES_INSTANCES),
    ):
        yield Operation(
            name,
            _READ,
            path,
            "Search",
            f"Search for {what}",
            "PS3.18 §10.6",
            (
                Answer(200, "The matches on this page.", _json(Shape.DATA_SETS), ("Warning", "Link", "X-Total-Count")),
                Answer(204, "There are none.", headers=("Warning", "X-Total-Count")),
            ),
            (BadRequest, NotAcceptable, Unavailable),
            tuple(_search_parameters(resource)),
        )


def _search_parameters(resource: SearchResource) -> Iterable[Parameter]:
    for attribute in SEARCHABLE:
        if attribute.level in resource.attributes_of:
            yield Parameter(Place.QUERY, attribute.keyword, _matching(attribute))
    yield Parameter(Place.QUERY, "includefield", "Attributes to return as well, or all", repeated=True)
    yield Parameter(Place.QUERY, "fuzzymatching", "Match names by the beginnings of their words", Shape.FLAG)
    yield Parameter(
        Place.QUERY,
        "limit",
        "Results of a page",
        Shape.NUMBER,
        query.LEAST_LIMIT,
        query.GREATEST_LIMIT,
        query.DEFAULT_LIMIT,
    )
    yield Parameter(Place.QUERY, "offset", "Results to pass over", Shape.NUMBER, 0, default=0)
    yield Parameter(Place.QUERY, "cursor", "Where an earlier page ended, in place of an offset")
    yield Parameter(
        Place.QUERY, "TimezoneOffsetFromUTC", "The zone of the dates and times in the query: +hhmm or -hhmm"
    )


#: How the values of a VR are asked for; those that are not named here, as text.
_MATCHING = {
    "UI": "a UID, or several separated by commas",
    "IS": "a whole number",
    **dict.fromkeys(RANGE_VRS, "a value, or a range: a-b, a- or -b"),
}


def _matching(attribute: SearchAttribute) -> str:
    """How an attribute is asked for: its tag stands for its keyword as well (PS3.18 §8.3.4.1)."""
    tags = ".".join(f"({tag[:4]},{tag[4:]})" for tag in attribute.path)
    how = _MATCHING.get(attribute.vr, "text, in which * is any run of characters and ? any one")
    return f"{tags} {attribute.vr} of the {attribute.level.name.lower()}: {how}"


def _delete() -> Iterable[Operation]:
    for level, path, what in _LEVELS:
        yield Operation(
            f"Delete{level}",
            ("DELETE",),
            path,
            "Delete",
            f"Delete {what}",
            "",
            (Answer(204, "It is deleted."),),
            (BadRequest, NotFound, Unavailable),
            negotiates=False,
        )


def _descriptions() -> Iterable[Operation]:
    documents = tuple(Representation(media, Shape.DOCUMENT) for media in (WADL, JSON, XML))
    yield Operation(
        "RetrieveCapabilities",
        ("OPTIONS", "GET", "HEAD"),
        "{version}",
        DESCRIPTION,
        "Retrieve what the service can do",
        "PS3.18 §8.9",
        (Answer(200, "The capabilities description.", documents),),
        (BadRequest, NotAcceptable),
    )
    for name, media in (("yaml", YAML), ("json", JSON)):
        yield Operation(
            f"Describe{name.title()}",
            _READ,
            f"{{version}}/api.{name}",
            DESCRIPTION,
            "Retrieve this description (OpenAPI)",
            "",
            (Answer(200, "The description.", (Representation(media, Shape.DOCUMENT),)),),
            (BadRequest,),
            negotiates=False,
        )
    health = (Representation(JSON, Shape.HEALTH),)
    yield Operation(
        "CheckHealth",
        _READ,
        "health/check",
        DESCRIPTION,
        "Tell whether storage answers",
        "",
        (Answer(200, "It does.", health), Answer(503, "Some of it does not.", health)),
        (BadRequest,),
        negotiates=False,
    )


#: The table.
OPERATIONS: tuple[Operation, ...] = (
    *_store(),
    *_retrieve(),
    *_rendered(),
    *_bulk_data(),
    *_search(),
    *_delete(),
    *_descriptions(),
)
