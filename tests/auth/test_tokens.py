"""Which tokens count: each test changes one thing about a token that does."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from shared.auth.actions import Action
from shared.auth.gate import Gate
from shared.auth.tokens import LEEWAY, MAX_HEADER
from shared.errors import InvalidToken, Unauthenticated
from tests.auth.gates import NOW, TENANT, Clock, admitted, short
from tests.auth.issuer import (
    AUDIENCE,
    CLIENT,
    SUBJECT,
    LocalIssuer,
    signing_key,
)

OTHER_TENANT = "11111111-98a1-4a53-a2c9-0d2a9b3c4d5e"
STRANGER = 77


# --- tokens that count


async def test_a_token_of_a_provider_counts(gate: Gate, issuer: LocalIssuer) -> None:
    caller = await admitted(gate, issuer.token(NOW, roles=["Dicom.Reader"]))
    assert (caller.subject, caller.application) == (SUBJECT, CLIENT)
    assert [each for each in Action if caller.may(each)] == [Action.READ]
    assert issuer.requests == ["/.well-known/openid-configuration", "/keys"]


async def test_a_token_of_entra_version_2_counts(gate_for: Callable[..., Gate], entra: LocalIssuer) -> None:
    caller = await admitted(gate_for(entra), entra.token(NOW, oid="the-oid", roles=["Dicom.Owner"]))
    assert (caller.subject, caller.application, caller.actions) == ("the-oid", CLIENT, frozenset(Action))
    assert entra.requests == [f"/{TENANT}/discovery/v2.0/keys"]


async def test_a_token_of_entra_version_1_counts(gate_for: Callable[..., Gate], entra: LocalIssuer) -> None:
    token = entra.token(NOW, iss=f"https://sts.windows.net/{TENANT}/", ver="1.0", azp=None, appid="the-appid", oid="o")
    caller = await admitted(gate_for(entra), token)
    assert (caller.subject, caller.application) == ("o", "the-appid")


async def test_keys_may_be_named_by_a_setting(gate_for: Callable[..., Gate], issuer: LocalIssuer) -> None:
    gate = gate_for(issuer, auth_jwks_url=issuer.keys_url)
    await admitted(gate, issuer.token(NOW))
    assert issuer.requests == ["/keys"]


async def test_an_issuer_may_end_with_a_slash(gate_for: Callable[..., Gate], issuer: LocalIssuer) -> None:
    gate = gate_for(issuer, auth_issuer=f"{issuer.url}/", auth_jwks_url=issuer.keys_url)
    await admitted(gate, issuer.token(NOW, iss=f"{issuer.url}/"))
    with pytest.raises(InvalidToken, match="another issuer"):
        await admitted(gate, issuer.token(NOW))


@pytest.mark.parametrize("audience", [AUDIENCE, "b", [AUDIENCE], ["x", "b"], ["b", AUDIENCE]])
async def test_each_of_several_audiences_counts(
    gate_for: Callable[..., Gate], issuer: LocalIssuer, audience: object
) -> None:
    gate = gate_for(issuer, auth_audience=f"{AUDIENCE}, b ,")
    assert await admitted(gate, issuer.token(NOW, aud=audience))


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "Bearer   "])
async def test_the_scheme_has_no_case(gate: Gate, issuer: LocalIssuer, scheme: str) -> None:
    assert await gate.admit([scheme + issuer.token(NOW)])


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt", None])
async def test_kinds_of_access_tokens_count(gate: Gate, issuer: LocalIssuer, kind: str | None) -> None:
    assert await admitted(gate, issuer.sign(issuer.claims(NOW), typ=kind))


async def test_claims_that_are_not_looked_at_do_not_matter(gate: Gate, issuer: LocalIssuer) -> None:
    more = {"name": "Jäne", "deep": [[{"a": None}]], "wids": ["x"] * 50, "jti": "1", "nonce": "n", "big": 10**300}
    assert await admitted(gate, issuer.token(NOW, **more))


async def test_keys_in_the_header_are_not_looked_at(gate: Gate, issuer: LocalIssuer) -> None:
    stranger = signing_key(STRANGER)
    header = {"jwk": stranger.jwk(), "jku": "http://127.0.0.1:9/", "x5u": "http://127.0.0.1:9/", "x5c": ["AAAA"]}
    assert await admitted(gate, issuer.sign(issuer.claims(NOW), None, **header))
    with pytest.raises(InvalidToken, match="not signed by the issuer"):
        await admitted(gate, issuer.sign(issuer.claims(NOW), stranger, kid=issuer.key.name, **header))
    assert issuer.requests == ["/.well-known/openid-configuration", "/keys"]


# --- times


@pytest.mark.parametrize(
    ("claims", "counts"),
    [
        ({"exp": NOW + 1}, True),
        ({"exp": NOW - LEEWAY + 1}, True),
        ({"exp": NOW - LEEWAY + 0.5}, True),
        ({"exp": NOW - LEEWAY}, False),
        ({"exp": NOW - LEEWAY - 1}, False),
        ({"exp": 0}, False),
        ({"nbf": NOW + LEEWAY}, True),
        ({"nbf": NOW + LEEWAY + 1}, False),
        ({"iat": NOW + LEEWAY}, True),
        ({"iat": NOW + LEEWAY + 1}, False),
        ({"nbf": None, "iat": None}, True),
        ({"exp": 2**53}, True),
    ],
)
async def test_a_token_counts_in_its_time(
    gate: Gate, issuer: LocalIssuer, claims: dict[str, Any], counts: bool
) -> None:
    token = issuer.token(NOW, **claims)
    if counts:
        assert await admitted(gate, token)
    else:
        with pytest.raises(InvalidToken, match=r"expired|not valid yet"):
            await admitted(gate, token)


async def test_a_token_expires_by_the_clock(gate: Gate, issuer: LocalIssuer, clock: Clock) -> None:
    token = issuer.token(NOW, exp=NOW + 10)
    await admitted(gate, token)
    clock.now += 10 + LEEWAY
    with pytest.raises(InvalidToken, match="expired"):
        await admitted(gate, token)


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value", ["1900000000", "", True, [NOW + 9], {}, -1, 2**53 + 1, 10**400, float("nan"), float("inf"), -float("inf")]
)
async def test_a_time_is_a_number(gate: Gate, issuer: LocalIssuer, name: str, value: object) -> None:
    with pytest.raises(InvalidToken):
        await admitted(gate, issuer.token(NOW, **{name: value}))


# --- claims that do not count


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("exp", None),
        ("iss", None),
        ("iss", ""),
        ("iss", ["x"]),
        ("iss", 1),
        ("iss", "https://elsewhere.example"),
        ("aud", None),
        ("aud", ""),
        ("aud", []),
        ("aud", "api://dicom2"),
        ("aud", "api://dico"),
        ("aud", "API://DICOM"),
        ("aud", [[AUDIENCE]]),
        ("aud", {AUDIENCE: 1}),
        ("aud", [AUDIENCE, 1]),
        ("aud", 1),
        ("sub", None),
        ("sub", ""),
        ("sub", 1),
        ("sub", ["x"]),
        ("sub", "x" * 256),
        ("sub", "two\nlines"),
        ("sub", "Jäne"),
        ("sub", "\ud800"),
    ],
)
async def test_a_claim_that_does_not_count_refuses_the_token(
    gate: Gate, issuer: LocalIssuer, name: str, value: object
) -> None:
    with pytest.raises(InvalidToken):
        await admitted(gate, issuer.token(NOW, **{name: value}))


@pytest.mark.parametrize(
    "changes",
    [
        {"tid": OTHER_TENANT},
        {"tid": None},
        {"tid": TENANT.upper()},
        {"tid": [TENANT]},
        {"iss": f"https://sts.windows.net/{OTHER_TENANT}/", "tid": OTHER_TENANT},
        {"iss": f"https://sts.windows.net/{OTHER_TENANT}/"},
        {"iss": f"https://sts.windows.net/{TENANT}"},
        {"iss": f"https://login.microsoftonline.com/{TENANT}/v2.0"},
        {"azp": None},
        {"azp": 5},
        {"oid": ""},
        {"oid": 5},
    ],
    ids=json.dumps,
)
async def test_a_token_of_entra_names_tenant_client_and_bearer(
    gate_for: Callable[..., Gate], entra: LocalIssuer, changes: dict[str, Any]
) -> None:
    with pytest.raises(InvalidToken):
        await admitted(gate_for(entra), entra.token(NOW, **changes))


async def test_a_provider_need_not_name_the_client(gate: Gate, issuer: LocalIssuer) -> None:
    assert (await admitted(gate, issuer.token(NOW, azp=None))).application == ""
    assert (await admitted(gate, issuer.token(NOW, azp=None, client_id="c"))).application == "c"
    # Only Entra's oid is an id; elsewhere it may be anything.
    assert (await admitted(gate, issuer.token(NOW, oid="o"))).subject == SUBJECT


@pytest.mark.parametrize(
    "claims", [[], "text", 5, None, b"", b"{", b"\xff\xfe", b"[" * 9000, b'{"a":' * 1800, b"NaN"], ids=short
)
async def test_claims_are_an_object(gate: Gate, issuer: LocalIssuer, claims: object) -> None:
    with pytest.raises(InvalidToken):
        await admitted(gate, issuer.sign(claims))


# --- headers that hold no token


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Basic dTpw", "Bearer\tx.y.z", "Token x.y.z", "Bearer: x.y.z", "x.y.z"]
)
async def test_another_scheme_is_no_token(gate: Gate, header: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await gate.admit([header])
    assert type(refused.value) is Unauthenticated


async def test_without_a_header_there_is_no_token(gate: Gate) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await gate.admit([])
    assert type(refused.value) is Unauthenticated


async def test_one_header_is_enough(gate: Gate, issuer: LocalIssuer) -> None:
    header = f"Bearer {issuer.token(NOW)}"
    for several in ([header, header], [header, "Basic dTpw"], ["", header]):
        with pytest.raises(Unauthenticated, match="several"):
            await gate.admit(several)
    with pytest.raises(InvalidToken):
        await gate.admit([f"{header}, {header}"])


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda token: "",
        lambda token: ".",
        lambda token: "..",
        lambda token: "." * 10_000,
        lambda token: token + ".",
        lambda token: "." + token,
        lambda token: token.replace(".", ".."),
        lambda token: token + "=",
        lambda token: token + "==",
        lambda token: token + " ",
        lambda token: token + "\n",
        lambda token: token + "\0",
        lambda token: token + " x",
        lambda token: '"' + token + '"',
        lambda token: token.replace(".", "\uff0e"),
        lambda token: token[:-1] + "\u212a",
        lambda token: token.rpartition(".")[0],
        lambda token: token + "." + token,
        lambda token: "A" * 10_000,
    ],
)
async def test_a_token_has_three_segments_and_one_spelling(
    gate: Gate, issuer: LocalIssuer, spoilt: Callable[[str], str]
) -> None:
    with pytest.raises(InvalidToken, match="not a signed"):
        await admitted(gate, spoilt(issuer.token(NOW)))
    assert issuer.requests == []


async def test_a_token_has_a_size(gate: Gate, issuer: LocalIssuer) -> None:
    empty = len(f"Bearer {issuer.token(NOW, pad='')}")
    fits = issuer.token(NOW, pad="x" * ((MAX_HEADER - empty) * 3 // 4 - 3))
    assert MAX_HEADER - 8 < len(f"Bearer {fits}") <= MAX_HEADER
    assert await admitted(gate, fits)
    for size in (MAX_HEADER, 1_000_000):
        with pytest.raises(InvalidToken, match="longer than"):
            await admitted(gate, issuer.token(NOW, pad="x" * size))
