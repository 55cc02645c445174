"""What every request says before its own business: version, study, series, instance, and what it accepts."""

from collections.abc import Iterable
from urllib.parse import quote, unquote

from starlette.requests import Request

from shared.dicom.validation import is_uid
from shared.dicomweb.media_types import MediaRange, parse_accept
from shared.dicomweb.uids import parse_uid
from shared.dicomweb.urls import BaseUrl, base_url, instance_url, series_url, study_url
from shared.dicomweb.versions import ApiVersion, parse_version
from shared.errors import BadRequest
from shared.model import InstanceKey, Scope

_UIDS = (("study", "StudyInstanceUID"), ("series", "SeriesInstanceUID"), ("instance", "SOPInstanceUID"))


def version_of(request: Request) -> ApiVersion:
    """The API version in the path. Raises BadRequest for one the service lacks."""
    return parse_version(request.path_params["version"])


def scope_of(request: Request) -> Scope | None:
    """The study, series or instance in the path; None when it names none. Raises BadRequest for what is not a UID."""
    parameters = request.path_params
    uids = [parse_uid(parameters[name], keyword) for name, keyword in _UIDS if name in parameters]
    return Scope(*uids) if uids else None


def named_scope_of(request: Request) -> Scope:
    """As `scope_of`, for routes whose path names at least a study."""
    scope = scope_of(request)
    assert scope is not None
    return scope


def instance_key_of(scope: Scope) -> InstanceKey:
    """The instance that a scope of that level names."""
    assert scope.series is not None and scope.instance is not None
    return InstanceKey(scope.study, scope.series, scope.instance)


def accept_of(request: Request) -> tuple[MediaRange, ...]:
    """What the client accepts: the query parameter `accept` where there is one (PS3.18 §8.3.3.1), else the headers."""
    # Not as form data, where the plus of "dicom+json" would be a space.
    pairs = (pair.partition("=") for pair in request.url.query.split("&"))
    asked = [unquote(value) for name, _, value in pairs if name == "accept"]
    return parse_accept(asked or request.headers.getlist("accept"))


def refuse_markup(request: Request) -> None:
    """Refuse a `<` in the query, as the original service does. Raises BadRequest."""
    query = request.url.query
    if "<" in query or "%3c" in query.lower():
        raise BadRequest("The query must not contain '<'.")


#: Headers that a client may send for the audit log of the original service: what they begin with, how many, how long.
AUDIT_PREFIX, MAX_AUDIT_HEADERS, MAX_AUDIT_CHARACTERS = "x-ms-azuredicom-audit-", 10, 2048


def refuse_long_audit_headers(request: Request) -> None:
    """Refuse too many or too long headers for the audit log, as the original service does. Raises BadRequest."""
    values = [value for name, value in request.headers.items() if name.lower().startswith(AUDIT_PREFIX)]
    if len(values) > MAX_AUDIT_HEADERS:
        raise BadRequest(f"There are more than {MAX_AUDIT_HEADERS} audit headers.")
    if any(len(value) > MAX_AUDIT_CHARACTERS for value in values):
        raise BadRequest(f"An audit header is longer than {MAX_AUDIT_CHARACTERS} characters.")


def note_studies(request: Request, studies: Iterable[str]) -> None:
    """Have the audit log name studies that the path of a request does not."""
    request.state.studies = [*getattr(request.state, "studies", ()), *studies]


def audited_studies(request: Request) -> list[str]:
    """The UIDs of the studies a request concerned: the one in its path and those noted, each once."""
    # One route of the tutorial lacks the slash before the UID.
    named: str = request.path_params.get("study", "").removeprefix("studies").rstrip(" \0")
    noted: list[str] = getattr(request.state, "studies", [])
    return list(dict.fromkeys([*([named] if is_uid(named) else []), *noted]))


class Urls:
    """The URLs of an answer: as the client sees the service, in the version it asked for."""

    def __init__(self, request: Request) -> None:
        headers = {name.lower(): value for name, value in reversed(request.headers.items())}
        self._base: BaseUrl = base_url(headers, request.url.scheme)
        self._version: str = request.path_params["version"]

    @property
    def root(self) -> str:
        """The URL that the version is appended to, without a slash at its end."""
        return str(self._base)

    @property
    def of_version(self) -> str:
        """The URL below which the resources of the version lie, without a slash at its end."""
        return f"{self._base}/{quote(self._version, safe='')}"

    @property
    def host(self) -> str:
        """The host, with its port if it has one, as the client sees it."""
        return self._base.host

    def of(self, scope: Scope) -> str:
        """The retrieve URL of a study, series or instance."""
        if scope.series is None:
            return study_url(self._base, self._version, scope.study)
        if scope.instance is None:
            return series_url(self._base, self._version, scope.study, scope.series)
        return instance_url(self._base, self._version, scope.study, scope.series, scope.instance)
