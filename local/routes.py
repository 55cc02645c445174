"""Which function answers a path and method: route templates as in Azure Functions, the most specific match first.

Literal text is compared without regard to case and a slash at the end is ignored, as ASP.NET does. The method is one
more condition on a route: a path whose methods are all others is not found (404, never 405), which is what the real
host answers. Where several routes fit, literal text goes before a parameter with a constraint, that before one
without, and that before a parameter that takes all the rest. An app does well not to depend on it: the order has
differed between versions of the real host.

Leaves out default values (`{a=b}`), several parameters in one segment, and constraints that no route here uses; such a
template is refused when the app starts, not matched wrongly.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from local.settings import LocalError

#: Methods of an httpTrigger that names none.
ALL_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"})

_GUID = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)

#: Constraints without arguments.
_CONSTRAINTS: dict[str, Callable[[str], bool]] = {
    "alpha": lambda text: text.isascii() and text.isalpha(),
    "int": lambda text: re.fullmatch(r"[+-]?\d{1,10}", text, re.ASCII) is not None and -(2**31) <= int(text) < 2**31,
    "guid": lambda text: _GUID.fullmatch(text) is not None,
}

#: Rank of a segment where two routes differ; lower goes first.
_LITERAL, _CONSTRAINED, _PARAMETER, _CATCH_ALL = range(4)


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece of a template between slashes: literal text, or a parameter."""

    rank: int
    #: The literal text in lower case, or the parameter's name.
    text: str
    optional: bool = False
    constraints: tuple[Callable[[str], bool], ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """A template and the methods it answers, leading to `target`."""

    target: str
    methods: frozenset[str]
    segments: tuple[Segment, ...]

    def match(self, pieces: list[str]) -> dict[str, str] | None:
        """The parameters, when the pieces of a path fit the template."""
        parameters: dict[str, str] = {}
        for position, segment in enumerate(self.segments):
            if segment.rank == _CATCH_ALL:
                value = "/".join(pieces[position:])
                return parameters | {segment.text: value} if _holds(segment, value) else None
            if position >= len(pieces):
                if segment.optional:
                    continue
                return None
            piece = pieces[position]
            if segment.rank == _LITERAL:
                if piece.lower() != segment.text:
                    return None
            elif not piece or not _holds(segment, piece):
                return None
            else:
                parameters[segment.text] = piece
        return parameters if len(pieces) <= len(self.segments) else None


class RouteTable:
    """All routes of an app."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = sorted(routes, key=lambda route: tuple(segment.rank for segment in route.segments))

    def find(self, method: str, raw_path: bytes) -> tuple[str, dict[str, str]] | None:
        """The target and the parameters for a path as it came over the wire, or None when no route fits.

        An encoded slash stays encoded and does not divide segments.
        """
        path = raw_path.decode("latin-1").removeprefix("/").removesuffix("/")
        pieces = [_decode(piece) for piece in path.split("/")] if path else []
        for route in self._routes:
            if method in route.methods and (parameters := route.match(pieces)) is not None:
                return route.target, parameters
        return None


def parse_route(target: str, template: str, methods: Iterable[str] | None, prefix: str = "") -> Route:
    """A route from the words of an httpTrigger. Raises LocalError for a template that cannot be matched here."""
    whole = "/".join(part for part in (prefix.strip("/"), template.strip("/")) if part)
    segments = tuple(_parse_segment(text, whole) for text in _split(whole, "/", "{", "}")) if whole else ()
    for segment in segments[:-1]:
        if segment.rank == _CATCH_ALL or segment.optional:
            raise LocalError(f"In route {whole!r} only the last segment may be optional or take all the rest.")
    return Route(target, frozenset(method.upper() for method in methods or ALL_METHODS), segments)


def _split(text: str, separator: str, opening: str, closing: str) -> list[str]:
    """The pieces of `text`; a separator within brackets, as in a regular expression, does not divide."""
    pieces, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character == opening) - (character == closing)
        if character == separator and depth == 0:
            pieces.append(text[start:position])
            start = position + 1
    return [*pieces, text[start:]]


def _parse_segment(text: str, template: str) -> Segment:
    if not text.startswith("{"):
        if "{" in text or "}" in text:
            raise LocalError(f"Route {template!r} mixes text and a parameter in one segment, which is not supported.")
        return Segment(_LITERAL, text.lower())
    body = text[1:-1]
    catch_all, body = body.startswith("*"), body.lstrip("*")
    optional, body = body.endswith("?"), body.removesuffix("?")
    name, *rest = _split(body, ":", "(", ")")
    if not text.endswith("}") or not name.isidentifier():
        raise LocalError(f"Route {template!r} has a segment that is not supported: {text!r}.")
    constraints = tuple(_constraint(words, template) for words in rest)
    rank = _CATCH_ALL if catch_all else _CONSTRAINED if constraints else _PARAMETER
    return Segment(rank, name, optional, constraints)


def _constraint(words: str, template: str) -> Callable[[str], bool]:
    if words.startswith("regex(") and words.endswith(")"):
        # In a template a brace of the expression is written twice.
        pattern = words[len("regex(") : -1].replace("{{", "{").replace("}}", "}")
        try:
            expression = re.compile(pattern, re.IGNORECASE)
        except re.error as error:
            raise LocalError(f"Route {template!r} has a regular expression that does not compile: {error}.") from None
        return lambda text: expression.search(text) is not None
    if words in _CONSTRAINTS:
        return _CONSTRAINTS[words]
    raise LocalError(f"Route {template!r} has a constraint that is not supported: {words!r}.")


def _holds(segment: Segment, text: str) -> bool:
    return all(constraint(text) for constraint in segment.constraints)


def _decode(piece: str) -> str:
    return "%2F".join(unquote(part) for part in re.split("%2[Ff]", piece))
