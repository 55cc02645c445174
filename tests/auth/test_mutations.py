"""No token but the one the issuer signed is let in, however it was made from it."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shared.auth.actions import Caller
from shared.auth.gate import TokenGate
from shared.auth.grants import Grants
from shared.auth.keyring import KeyRing
from shared.auth.trust import trust_of
from shared.errors import Unauthenticated
from tests.auth.gates import NOW, Clock, settings_with
from tests.auth.issuer import AUDIENCE, LocalIssuer, segment, signed, signing_key

SETTINGS = settings_with(auth_issuer="https://id.example.org", auth_audience=AUDIENCE)
ISSUER = LocalIssuer()
CLAIMS = ISSUER.claims(NOW, iss=SETTINGS.auth_issuer)
HEADER = {"typ": "JWT", "alg": "RS256", "kid": ISSUER.key.name}
TOKEN = signed(HEADER, CLAIMS, ISSUER.key.private)

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


async def _keys() -> Mapping[str, RSAPublicKey]:
    return {ISSUER.key.name: ISSUER.key.private.public_key()}


def caller_with(*authorization: str) -> Caller | None:
    """Whom the headers let in, if anybody; any other error fails the test."""
    gate = TokenGate(trust_of(SETTINGS), Grants(SETTINGS.auth_roles, "roles"), KeyRing(_keys, Clock()), Clock())
    try:
        return asyncio.run(gate.admit(authorization))
    except Unauthenticated:
        return None


def test_the_token_itself_is_let_in() -> None:
    assert caller_with(f"Bearer {TOKEN}")


_PLACES = st.integers(0, len(TOKEN) - 1)
_CHARACTERS = st.sampled_from("AQgwBab01-_=.+/ \n") | st.characters()


@st.composite
def _mutated(draw: st.DrawFn) -> str:
    """The token with characters replaced, added, removed or moved."""
    token = TOKEN
    for _ in range(draw(st.integers(1, 3))):
        place = min(draw(_PLACES), len(token))
        match draw(st.sampled_from(["replace", "add", "remove", "cut", "swap", "repeat"])):
            case "replace":
                token = token[:place] + draw(_CHARACTERS) + token[place + 1 :]
            case "add":
                token = token[:place] + draw(_CHARACTERS) + token[place:]
            case "remove":
                token = token[:place] + token[place + draw(st.integers(1, 4)) :]
            case "cut":
                token = token[:place]
            case "swap":
                other = min(draw(_PLACES), len(token))
                low, high = sorted((place, other))
                token = (
                    token[:low]
                    + token[high : high + 1]
                    + token[low + 1 : high]
                    + token[low : low + 1]
                    + token[high + 1 :]
                )
            case "repeat":
                token = token[:place] + token[place // 2 :]
    return token


@given(token=_mutated())
@settings(max_examples=400, deadline=None)
def test_a_token_that_was_changed_is_refused(token: str) -> None:
    # Blanks after the scheme are not part of the token (RFC 9110 §11.4).
    assume(token.lstrip(" ") != TOKEN)
    assert caller_with(f"Bearer {token}") is None


def test_a_token_with_one_character_changed_is_refused() -> None:
    for place, character in enumerate(TOKEN):
        for other in "AQ=.":
            if other != character:
                assert caller_with(f"Bearer {TOKEN[:place]}{other}{TOKEN[place + 1 :]}") is None


@given(
    part=st.integers(0, 2),
    value=st.binary(min_size=1, max_size=300) | _JSON.map(lambda each: json.dumps(each).encode()),
)
@settings(max_examples=200, deadline=None)
def test_a_token_with_another_segment_is_refused(part: int, value: bytes) -> None:
    segments = TOKEN.split(".")
    assume(segments[part] != segment(value))
    segments[part] = segment(value)
    assert caller_with(f"Bearer {'.'.join(segments)}") is None


@given(
    header=st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk"]) | st.text(), _JSON, max_size=4)
)
@settings(max_examples=200, deadline=None)
def test_whatever_the_header_says_another_key_does_not_count(header: dict[str, Any]) -> None:
    stranger = signing_key(77).private
    assert caller_with(f"Bearer {signed({**HEADER, **header}, CLAIMS, stranger)}") is None


_NAMES = ["iss", "aud", "exp", "nbf", "iat", "sub", "oid", "azp", "roles", "scp", "scope", "tid", "jti"]


@given(changes=st.dictionaries(st.sampled_from(_NAMES) | st.text(), _JSON, max_size=4))
@settings(max_examples=300, deadline=None)
def test_whatever_the_issuer_signs_is_refused_or_counts(changes: dict[str, Any]) -> None:
    claims = {**CLAIMS, **changes}
    caller = caller_with(f"Bearer {signed(HEADER, claims, ISSUER.key.private)}")
    if caller is not None:
        assert claims["iss"] == SETTINGS.auth_issuer
        assert AUDIENCE in claims["aud"]
        assert claims["sub"] == caller.subject != ""
        assert isinstance(claims["exp"], int | float)


@given(header=st.text() | st.from_regex(r"(?i)bearer [A-Za-z0-9_.=-]{0,200}", fullmatch=True))
@settings(max_examples=300, deadline=None)
def test_no_header_is_more_than_refused(header: str) -> None:
    assert caller_with(header) is None
