"""Which keys of an issuer count, and what becomes of answers that are not what they should be."""

import asyncio
import contextlib
import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest

from shared.auth.documents import MAX_DOCUMENT_BYTES, Undelivered, may_be_asked
from shared.auth.keys import MAX_KEYS, KeySource, keys_in
from shared.auth.trust import trust_of
from tests.auth.gates import TENANT, settings_for
from tests.auth.issuer import Answer, LocalIssuer, encoded_number, signing_key

KEY = signing_key(0)


def names(*jwks: Any, tenant: str = "") -> list[str]:
    """The names of the keys that count, beside one that does."""
    return list(keys_in({"keys": [*jwks, signing_key(1).jwk(kid="good")]}, tenant))


def source_of(local: LocalIssuer, timeout: float = 5, **settings: Any) -> KeySource:
    return KeySource(trust_of(settings_for(local, **settings)), timeout)


@pytest.mark.parametrize(
    "members", [{}, {"use": None}, {"alg": None}, {"key_ops": ["verify"]}, {"x5c": ["AAAA"]}, {"issuer": "x"}]
)
def test_a_key_for_signatures_counts(members: dict[str, Any]) -> None:
    assert names(KEY.jwk(**members)) == [KEY.name, "good"]
    numbers = keys_in({"keys": [KEY.jwk(**members)]})[KEY.name].public_numbers()
    assert numbers == KEY.private.public_key().public_numbers()


@pytest.mark.parametrize(
    "members",
    [
        {"kid": None},
        {"kid": ""},
        {"kid": 5},
        {"kid": ["a"]},
        {"kty": None},
        {"kty": "oct", "k": "AAAA"},
        {"kty": "EC"},
        {"kty": "rsa"},
        {"use": "enc"},
        {"use": ["sig"]},
        {"alg": "HS256"},
        {"alg": "PS256"},
        {"alg": "RSA-OAEP"},
        {"key_ops": []},
        {"key_ops": ["encrypt"]},
        {"key_ops": "verify"},
        {"n": None},
        {"n": ""},
        {"n": 5},
        {"n": "!!"},
        {"n": "\ud800"},
        {"n": "Å" * 300},
        {"n": "A" * 1000},
        {"n": "_" * 100_000},
        {"e": None},
        {"e": ""},
        {"e": "AQ"},
        {"e": "Ag"},
        {"e": 65537},
        {"n": encoded_number(2**8192 + 1)},
    ],
    ids=lambda members: repr(members)[:40],
)
def test_another_key_is_left_out(members: dict[str, Any]) -> None:
    assert names(KEY.jwk(**members)) == ["good"]
    with pytest.raises(Undelivered):
        keys_in({"keys": [KEY.jwk(**members)]})


@pytest.mark.parametrize("bits", [1024, 2047])
def test_a_small_key_is_left_out(bits: int) -> None:
    assert names(signing_key(5, bits).jwk()) == ["good"]


@pytest.mark.parametrize("other", [None, 5, "text", [], {}, [KEY.jwk()]])
def test_what_is_no_key_is_left_out(other: object) -> None:
    assert names(other) == ["good"]


@pytest.mark.parametrize("document", [{}, {"keys": None}, {"keys": {}}, {"keys": []}, {"keys": "x"}, {"key": []}])
def test_a_document_without_keys_is_no_answer(document: dict[str, Any]) -> None:
    with pytest.raises(Undelivered):
        keys_in(document)


def test_of_two_keys_of_one_name_the_first_counts() -> None:
    keys = keys_in({"keys": [KEY.jwk(), signing_key(1).jwk(kid=KEY.name)]})
    assert keys[KEY.name].public_numbers() == KEY.private.public_key().public_numbers()


def test_only_so_many_keys_are_looked_at() -> None:
    many = keys_in({"keys": [KEY.jwk(kid=str(number)) for number in range(MAX_KEYS + 50)]})
    assert len(many) == MAX_KEYS


def test_a_private_key_counts_for_its_public_half() -> None:
    private = KEY.private.private_numbers()
    assert names(KEY.jwk(d=encoded_number(private.d), p="rubbish")) == [KEY.name, "good"]


@pytest.mark.parametrize(
    ("issuer", "counts"),
    [
        ("https://login.microsoftonline.com/{tenantid}/v2.0", True),
        (f"https://login.microsoftonline.com/{TENANT}/v2.0", True),
        (f"https://sts.windows.net/{TENANT}/", True),
        (None, True),
        ("https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0", False),
        (f"https://login.microsoftonline.com/x{TENANT}/v2.0", False),
    ],
)
def test_a_key_for_another_tenant_is_left_out(issuer: str | None, counts: bool) -> None:
    assert names(KEY.jwk(issuer=issuer), tenant=TENANT) == ([KEY.name] if counts else []) + ["good"]


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("https://login.example.org", True),
        ("https://login.example.org:8443/a/b?c=d", True),
        ("http://127.0.0.1:8080/keys", True),
        ("http://127.1.2.3/", True),
        ("http://localhost:8080", True),
        ("http://[::1]:8080/", True),
        ("http://login.example.org/", False),
        ("http://localhost.example.org/", False),
        ("http://127.0.0.1.example.org/", False),
        ("http://localhost@example.org/", False),
        ("https://name:word@example.org/", False),
        ("https://@example.org/", False),
        ("https://example.org/#part", False),
        ("https://example.org:port/", False),
        ("https://[::1/", False),
        ("https:///keys", False),
        ("https://exämple.org/", False),
        ("https://example.org/\n", False),
        ("file:///etc/passwd", False),
        ("ftp://127.0.0.1/", False),
        ("127.0.0.1", False),
        ("", False),
    ],
)
def test_documents_come_over_https_or_from_this_machine(url: str, may: bool) -> None:
    assert may_be_asked(url) is may


async def test_keys_are_fetched(issuer: LocalIssuer) -> None:
    issuer.rotate(keep=True)
    assert list(await source_of(issuer).fetch()) == [signing_key(0).name, signing_key(1).name]


MISBEHAVIOURS: dict[str, Callable[[LocalIssuer], Answer]] = {
    "nothing": lambda issuer: Answer(b""),
    "garbage": lambda issuer: Answer(b"<html>" + bytes(range(256))),
    "no object": lambda issuer: Answer(b"[]"),
    "nested": lambda issuer: Answer(b"[" * 100_000),
    "nested objects": lambda issuer: Answer(b'{"keys":' * 30_000),
    "half of it": lambda issuer: Answer(issuer.key_set()[:-20]),
    "less than announced": lambda issuer: Answer(issuer.key_set(), headers={"Content-Length": "100000"}),
    "not found": lambda issuer: Answer(issuer.key_set(), 404),
    "an error": lambda issuer: Answer(issuer.key_set(), 500),
    "not modified": lambda issuer: Answer(b"", 304),
    "another success": lambda issuer: Answer(issuer.key_set(), 203),
    "elsewhere": lambda issuer: Answer(issuer.key_set(), 302, {"Location": f"{issuer.url}/other"}),
    "elsewhere for good": lambda issuer: Answer(issuer.key_set(), 308, {"Location": f"{issuer.url}/other"}),
    "huge": lambda issuer: Answer(issuer.key_set() + b" " * MAX_DOCUMENT_BYTES),
    "huge header": lambda issuer: Answer(issuer.key_set(), headers={"X-Long": "x" * 100_000}),
    "compressed": lambda issuer: Answer(gzip.compress(issuer.key_set()), headers={"Content-Encoding": "gzip"}),
    "bomb": lambda issuer: Answer(gzip.compress(b" " * 50_000_000), headers={"Content-Encoding": "gzip"}),
    "keys that do not count": lambda issuer: Answer(json.dumps({"keys": [KEY.jwk(use="enc")]}).encode()),
}


@pytest.mark.parametrize("misbehaviour", MISBEHAVIOURS.values(), ids=MISBEHAVIOURS)
async def test_another_answer_is_none(issuer: LocalIssuer, misbehaviour: Callable[[LocalIssuer], Answer]) -> None:
    issuer.misbehaviour = lambda path: misbehaviour(issuer)
    with pytest.raises(Undelivered):
        await source_of(issuer, auth_jwks_url=issuer.keys_url).fetch()
    assert issuer.requests == ["/keys"]


async def test_the_largest_document_is_read(issuer: LocalIssuer) -> None:
    issuer.misbehaviour = lambda path: Answer(issuer.key_set().ljust(MAX_DOCUMENT_BYTES))
    assert await source_of(issuer, auth_jwks_url=issuer.keys_url).fetch()


async def test_an_issuer_that_does_not_answer_in_time_has_no_keys(issuer: LocalIssuer) -> None:
    issuer.willing.clear()
    with pytest.raises(Undelivered, match="in time"):
        await source_of(issuer, 0.05).fetch()


async def test_an_issuer_that_sends_drop_by_drop_has_no_keys(issuer: LocalIssuer) -> None:
    sent = 0

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                writer.write(b" ")
                await writer.drain()
                sent += 1
                await asyncio.sleep(0.01)
        writer.close()

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(Undelivered, match="in time"):
            await source_of(issuer, 0.2, auth_jwks_url=url).fetch()
        server.close_clients()
    assert 0 < sent < 1000


async def test_an_issuer_that_is_not_there_has_no_keys(issuer: LocalIssuer) -> None:
    source = source_of(issuer)
    issuer.stop()
    with pytest.raises(Undelivered, match="reached"):
        await source.fetch()


@pytest.mark.parametrize(
    "configuration",
    [
        {"issuer": "https://elsewhere.example", "jwks_uri": "{url}/keys"},
        {"issuer": "{url}/", "jwks_uri": "{url}/keys"},
        {"jwks_uri": "{url}/keys"},
        {"issuer": ["{url}"], "jwks_uri": "{url}/keys"},
        {"issuer": "{url}"},
        {"issuer": "{url}", "jwks_uri": None},
    ],
    ids=json.dumps,
)
async def test_a_configuration_of_another_kind_leads_nowhere(
    issuer: LocalIssuer, configuration: dict[str, Any]
) -> None:
    issuer.misbehaviour = lambda path: Answer(json.dumps(configuration).replace("{url}", issuer.url).encode())
    with pytest.raises(Undelivered):
        await source_of(issuer).fetch()
    assert issuer.requests == ["/.well-known/openid-configuration"]


@pytest.mark.parametrize("url", ["http://elsewhere.example/keys", "file:///keys", "/keys", "127.0.0.1/keys"])
async def test_a_configuration_does_not_lead_to_other_protocols(issuer: LocalIssuer, url: str) -> None:
    configuration = json.dumps({"issuer": issuer.url, "jwks_uri": url})
    issuer.misbehaviour = lambda path: Answer(configuration.encode())
    with pytest.raises(Undelivered, match="neither https"):
        await source_of(issuer).fetch()


async def test_the_configuration_of_an_issuer_that_ends_with_a_slash_is_found(issuer: LocalIssuer) -> None:
    def answer(path: str) -> Answer:
        configuration = {"issuer": f"{issuer.url}/realm/", "jwks_uri": issuer.keys_url}
        return Answer(issuer.key_set() if path == "/keys" else json.dumps(configuration).encode())

    issuer.misbehaviour = answer
    assert await source_of(issuer, auth_issuer=f"{issuer.url}/realm/").fetch()
    assert issuer.requests == ["/realm/.well-known/openid-configuration", "/keys"]
