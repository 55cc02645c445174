"""The absolute URLs the service puts into its answers, as the client sees the host.

Decides which of the headers a proxy leaves behind counts: X-Forwarded-Host, -Proto and -Prefix, then Forwarded
(RFC 7239), then Host. Of lists the first element counts, the one nearest to the client. A value that is not a plain
host, scheme or path is passed over as if it were not there: it would end up in the answer. Anybody may send these
headers, so they decide nothing but the text of URLs in the answer to their sender.

Left out: the service's own routes (function_app.py).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from shared.dicomweb.media_types import MAX_CHARACTERS, split_unquoted, unquote
from shared.errors import BadRequest

#: Longest host name of the DNS, and a port.
_HOST = re.compile(r"(?=.{1,261}\Z)(?:[A-Za-z0-9_.~-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_SCHEMES = ("http", "https")
_PREFIX = re.compile(r"(?=.{1,512}\Z)(?:/(?!\.{1,2}(?:/|\Z))(?:[A-Za-z0-9._~!$&()*+,;=:@-]|%[0-9A-Fa-f]{2})+)+")


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """Where a client sees the service: `prefix` is empty or a path that begins, and does not end, with a slash."""

    scheme: str
    host: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}{self.prefix}"


def base_url(headers: Mapping[str, str], scheme: str) -> BaseUrl:
    """The base of all URLs in an answer.

    `headers` are those of the request, by lower-case name; `scheme` is that of the connection, for when no header tells
    another. Raises BadRequest when no header holds a host name (RFC 9112 §3.2).
    """
    forwarded = _forwarded(headers.get("forwarded", ""))
    hosts = (_first(headers, "x-forwarded-host"), forwarded.get("host", ""), headers.get("host", "").strip())
    host = next((each for each in hosts if _HOST.fullmatch(each)), None)
    if host is None:
        raise BadRequest("the Host header is missing or is not a host name")
    schemes = (_first(headers, "x-forwarded-proto").lower(), forwarded.get("proto", "").lower())
    prefix = _first(headers, "x-forwarded-prefix").rstrip("/")
    return BaseUrl(
        next((each for each in schemes if each in _SCHEMES), scheme),
        host,
        prefix if _PREFIX.fullmatch(prefix) else "",
    )


def study_url(base: BaseUrl, version: str, study: str, *, partition: str | None = None) -> str:
    """The study's URL (PS3.18 §10.4.1.1). `version` is the path segment as the client wrote it."""
    data_partition = () if partition is None else ("partitions", partition)
    return "/".join([str(base), *(quote(each, safe="") for each in (version, *data_partition, "studies", study))])


def series_url(base: BaseUrl, version: str, study: str, series: str, *, partition: str | None = None) -> str:
    """The series' URL (PS3.18 §10.4.1.1)."""
    return f"{study_url(base, version, study, partition=partition)}/series/{quote(series, safe='')}"


def instance_url(
    base: BaseUrl, version: str, study: str, series: str, instance: str, *, partition: str | None = None
) -> str:
    """The instance's URL (PS3.18 §10.4.1.1)."""
    return f"{series_url(base, version, study, series, partition=partition)}/instances/{quote(instance, safe='')}"


def _first(headers: Mapping[str, str], name: str) -> str:
    """The first element of a header that is a list without quotes."""
    return headers.get(name, "").partition(",")[0].strip()


def _forwarded(text: str) -> dict[str, str]:
    """The parameters of the first element of Forwarded (RFC 7239 §4), by lower-case name."""
    pairs = (piece.partition("=") for piece in split_unquoted(split_unquoted(text[:MAX_CHARACTERS], ",")[0], ";"))
    return {name.strip().lower(): unquote(value.strip()) or "" for name, _, value in pairs}
