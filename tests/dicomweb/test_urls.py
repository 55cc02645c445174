"""URLs as the client sees the host, and what hostile headers can do to them."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dicomweb.urls import BaseUrl, base_url, instance_url, series_url, study_url
from shared.errors import BadRequest

BASES: dict[str, tuple[dict[str, str], str]] = {
    "Host": ({"host": "localhost:7071"}, "http://localhost:7071"),
    "Azure": ({"host": "x.azurewebsites.net", "x-forwarded-proto": "https"}, "https://x.azurewebsites.net"),
    "IPv6": ({"host": "[::1]:7071"}, "http://[::1]:7071"),
    "underscore": ({"host": "dicom_web:80"}, "http://dicom_web:80"),
    "X-Forwarded": (
        {"host": "in", "x-forwarded-host": "pacs.org", "x-forwarded-proto": "HTTPS", "x-forwarded-prefix": "/dicom/"},
        "https://pacs.org/dicom",
    ),
    "X-Forwarded, lists": (
        {"host": "in", "x-forwarded-host": "a.org, b.org", "x-forwarded-proto": "https,http"},
        "https://a.org",
    ),
    "Forwarded": (
        {"host": "in", "forwarded": 'for="[::1]";Proto=https;host="a.org:8443", host=b.org'},
        "https://a.org:8443",
    ),
    "Forwarded without host": ({"host": "in", "forwarded": "for=1.2.3.4;proto=https"}, "https://in"),
    "X-Forwarded before Forwarded": (
        {"host": "in", "x-forwarded-host": "a", "forwarded": "host=b;proto=https"},
        "https://a",
    ),
    "hostile X-Forwarded-Host": ({"host": "in", "x-forwarded-host": 'a"><script>'}, "http://in"),
    "hostile X-Forwarded-Host, Forwarded": (
        {"host": "in", "x-forwarded-host": "a b", "forwarded": "host=c"},
        "http://c",
    ),
    "user info": ({"host": "in", "x-forwarded-host": "user@evil.org"}, "http://in"),
    "path in host": ({"host": "in", "x-forwarded-host": "evil.org/x"}, "http://in"),
    "odd scheme": ({"host": "in", "x-forwarded-proto": "javascript"}, "http://in"),
    "odd port": ({"host": "in", "x-forwarded-host": "a:123456"}, "http://in"),
    "empty Forwarded": ({"host": "in", "forwarded": ";,=;"}, "http://in"),
    "prefix with several segments": ({"host": "in", "x-forwarded-prefix": "/a/b%20c"}, "http://in/a/b%20c"),
    "prefix of a slash": ({"host": "in", "x-forwarded-prefix": "/"}, "http://in"),
    "prefix without a slash": ({"host": "in", "x-forwarded-prefix": "a"}, "http://in"),
    "prefix that climbs": ({"host": "in", "x-forwarded-prefix": "/a/../b"}, "http://in"),
    "prefix that changes the host": ({"host": "in", "x-forwarded-prefix": "//evil.org"}, "http://in"),
    "prefix with a query": ({"host": "in", "x-forwarded-prefix": "/a?b"}, "http://in"),
    "prefix too long": ({"host": "in", "x-forwarded-prefix": "/a" * 300}, "http://in"),
}


@pytest.mark.parametrize(("headers", "expected"), BASES.values(), ids=BASES.keys())
def test_the_base_is_where_the_client_sees_the_service(headers: dict[str, str], expected: str) -> None:
    assert str(base_url(headers, "http")) == expected


@pytest.mark.parametrize(
    "host", ["", " ", "a b", 'a"', "a\r\nX: y", "<a>", "a/b", "a@b", "a:b", "é.org", "a" * 300, "[::1", "[zz]"]
)
def test_a_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(BadRequest) as raised:
        base_url({"host": host}, "http")
    assert str(raised.value) == "the Host header is missing or is not a host name"


def test_no_host_at_all_is_refused() -> None:
    with pytest.raises(BadRequest, match="missing"):
        base_url({}, "http")


@given(
    st.dictionaries(
        st.sampled_from(["x-forwarded-host", "x-forwarded-proto", "x-forwarded-prefix", "forwarded"]), st.text()
    )
)
def test_no_header_gets_anything_odd_into_a_url(headers: dict[str, str]) -> None:
    text = str(base_url({**headers, "host": "in"}, "http"))
    parts = urlsplit(text)
    assert parts.scheme in ("http", "https")
    assert parts.query == parts.fragment == ""
    assert parts.username is None
    assert text.isascii()
    assert not set(text) & set(" \"'<>\\\r\n\t\0?#")


def test_urls_name_resources_below_the_version_as_written() -> None:
    base = BaseUrl("https", "h", "/p")
    assert study_url(base, "v1.0-prerelease", "1.2") == "https://h/p/v1.0-prerelease/studies/1.2"
    assert series_url(base, "v2", "1.2", "3") == "https://h/p/v2/studies/1.2/series/3"
    assert instance_url(base, "v2", "1.2", "3", "4") == "https://h/p/v2/studies/1.2/series/3/instances/4"


def test_urls_name_the_data_partition_when_there_is_one() -> None:
    base = BaseUrl("http", "h")
    assert study_url(base, "v2", "1", partition="a/b") == "http://h/v2/partitions/a%2Fb/studies/1"
    assert (
        instance_url(base, "v2", "1", "2", "3", partition="P")
        == "http://h/v2/partitions/P/studies/1/series/2/instances/3"
    )


def test_uids_are_escaped() -> None:
    base = BaseUrl("http", "h")
    assert instance_url(base, "v2", "1/2", "?", "é #") == "http://h/v2/studies/1%2F2/series/%3F/instances/%C3%A9%20%23"
