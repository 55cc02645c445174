"""What is said of one operation of the service: the words in which the table (operations.py) is written.

Neither OpenAPI nor WADL: both are made of these (openapi.py, capabilities.py).
"""

from dataclasses import dataclass
from enum import Enum

from shared.errors import ServiceError

#: A WADL document (PS3.18 §8.9, Annex H).
WADL = "application/vnd.sun.wadl+xml"
XML = "application/xml"
YAML = "application/yaml"

#: The group of operations that anybody may call.
DESCRIPTION = "Description"


class Shape(Enum):
    """What a body or a parameter holds."""

    BYTES = "bytes"
    DATA_SET = "a data set"
    DATA_SETS = "an array of data sets"
    HEALTH = "a health report"
    DOCUMENT = "a description of the service"
    TEXT = "text"
    FLAG = "true or false"
    NUMBER = "a whole number"


class Place(Enum):
    """Where in a request a parameter stands."""

    PATH = "path"
    QUERY = "query"
    HEADER = "header"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a request. `least`, `greatest` and `default` are for numbers."""

    place: Place
    name: str
    description: str
    shape: Shape = Shape.TEXT
    least: int | None = None
    greatest: int | None = None
    default: int | None = None
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Representation:
    """A body in one media type, and the transfer syntaxes its `transfer-syntax` parameter may name."""

    media: str
    shape: Shape = Shape.BYTES
    transfer_syntaxes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is no error: when it comes, as what, and the headers worth knowing of."""

    status: int
    description: str
    representations: tuple[Representation, ...] = ()
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One row: `path` is the route without constraints, `clause` where the standard describes the transaction."""

    name: str
    methods: tuple[str, ...]
    path: str
    group: str
    summary: str
    clause: str
    answers: tuple[Answer, ...]
    failures: tuple[type[ServiceError], ...]
    parameters: tuple[Parameter, ...] = ()
    body: tuple[Representation, ...] = ()
    negotiates: bool = True

    @property
    def guarded(self) -> bool:
        """Whether it takes a token, where the service requires tokens."""
        return self.group != DESCRIPTION

    def identifier(self, method: str) -> str:
        """A name of its own for each method."""
        return self.name if method == self.methods[0] else f"{method.title()}{self.name}"


#: Parameters of paths, by the name in the template; `version` is no parameter, for a description is of one version.
PATH_PARAMETERS = {
    name: Parameter(Place.PATH, name, text)
    for name, text in {
        "study": "StudyInstanceUID",
        "series": "SeriesInstanceUID",
        "instance": "SOPInstanceUID",
        "frames": "Numbers of frames, from 1, separated by commas",
        "attribute": "What follows bulkdata/ in a BulkDataURI: tags and numbers of items with dots between them",
    }.items()
}


def multipart_of(media: str) -> str:
    """Parts of a media type, as one media type (PS3.18 §8.6.1.2)."""
    return f'multipart/related; type="{media}"'


def path_parameters(operation: Operation) -> list[Parameter]:
    """The parameters of an operation's path, in their order."""
    names = (segment[1:-1] for segment in operation.path.split("/") if segment.startswith("{"))
    return [PATH_PARAMETERS[name] for name in names if name != "version"]


def acceptable_of(operation: Operation) -> list[str]:
    """What Accept may name, with and without a transfer syntax; what a wildcard means comes first."""
    named: list[str] = []
    for each in (each for answer in operation.answers for each in answer.representations):
        named += [f"{each.media}; transfer-syntax={syntax}" for syntax in each.transfer_syntaxes]
        named.append(each.media)
    return list(dict.fromkeys(named))
