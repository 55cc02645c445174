"""From the Authorization header to claims that count (RFC 6750, 7515, 7519, 8725).

    1  one header, of scheme Bearer, not larger than `MAX_HEADER`, shaped like a signed token
    2  the token's header: RS256, a key's name, no extension; a key or URL in it is not looked at
    3  signature, issuer, audience
    4  times, tenant

Facts. PyJWT checks signature, issuer and audience; times are checked here, because the clock is passed in. PyJWT also
takes padding, and extensions it knows: step 1 and 2 do not let them through, so that a token has one spelling. An
unsigned token is told the same as one with a wrong signature: nothing in it is believed before step 3.

No text of an error quotes anything of a token.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from shared.auth.keys import ALGORITHM
from shared.auth.trust import Trust
from shared.errors import InvalidToken, Unauthenticated

#: Characters of the header; Entra's tokens have some 2000, and hosts refuse headers of more than 16 or 32 KiB anyway.
MAX_HEADER = 16 * 1024
#: Seconds by which the issuer's clock and ours may differ.
LEEWAY = 60
#: Times beyond are no times; whole numbers are exact up to here in every language (RFC 8259 §6).
_LATEST = 2**53
#: Characters of an id (OpenID Connect Core 1.0 §2 on `sub`).
_MAX_ID = 255

#: RFC 7515 §7.1, with a signature.
_SIGNED_TOKEN = re.compile(r"bearer +([a-z0-9_-]+\.[a-z0-9_-]+\.[a-z0-9_-]+)", re.IGNORECASE | re.ASCII)

#: Kinds of token that may be access tokens (RFC 7519 §5.1, RFC 9068 §2.1); others are signed with the same keys.
_KINDS = {"jwt", "at+jwt", "application/jwt", "application/at+jwt"}

#: What PyJWT found; the first that fits is told.
_FINDINGS: Sequence[tuple[type[jwt.PyJWTError], str]] = (
    (jwt.InvalidSignatureError, "The token is not signed by the issuer."),
    (jwt.InvalidIssuerError, "The token is from another issuer."),
    (jwt.InvalidAudienceError, "The token is for another audience."),
    (jwt.MissingRequiredClaimError, "The token lacks a claim that is needed."),
    (jwt.PyJWTError, "The token cannot be read."),
)


def bearer_token(authorization: Sequence[str]) -> str:
    """The token in the Authorization headers of a request. Raises Unauthenticated; InvalidToken if it cannot be one."""
    if not authorization:
        raise Unauthenticated("The request carries no token.")
    if len(authorization) > 1:
        raise Unauthenticated("The request carries several Authorization headers.")
    header = authorization[0]
    if header[:7].lower() != "bearer ":
        raise Unauthenticated("The request carries no bearer token.")
    if len(header) > MAX_HEADER:
        raise InvalidToken(f"The token is longer than {MAX_HEADER} characters.")
    found = _SIGNED_TOKEN.fullmatch(header)
    if not found:
        raise InvalidToken("The token is not a signed JSON Web Token.")
    return found[1]


def key_name(token: str) -> str:
    """The name of the key that a token says it is signed with. Raises InvalidToken if it is of no kind that counts."""
    segment = token.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise InvalidToken("The token cannot be read.")
    if header.get("alg") != ALGORITHM:
        raise InvalidToken(f"The token is not signed with {ALGORITHM}.")
    if "crit" in header or "b64" in header:
        raise InvalidToken("The token has extensions that the service does not know.")
    kind, name = header.get("typ", "JWT"), header.get("kid")
    if not isinstance(kind, str) or kind.lower() not in _KINDS:
        raise InvalidToken("The token is no access token.")
    if not isinstance(name, str) or not name:
        raise InvalidToken("The token does not name its key.")
    return name


def claims_of(token: str, key: RSAPublicKey, trust: Trust, now: float) -> Mapping[str, Any]:
    """What a token says, if it counts `now`, in seconds since 1970. Raises InvalidToken."""
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            issuer=trust.issuers,
            audience=trust.audiences,
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )
    except jwt.PyJWTError as error:
        raise InvalidToken(next(text for kind, text in _FINDINGS if isinstance(error, kind))) from None
    if now >= _time(claims, "exp") + LEEWAY:
        raise InvalidToken("The token has expired.")
    if any(now < _time(claims, each) - LEEWAY for each in ("nbf", "iat") if each in claims):
        raise InvalidToken("The token is not valid yet.")
    if trust.tenant and claims.get("tid") != trust.tenant:
        raise InvalidToken("The token is from another tenant.")
    return claims


def subject_of(claims: Mapping[str, Any], trust: Trust) -> str:
    """The id of whom a token is about, a user or an application. Raises InvalidToken if there is none.

    Entra's `oid` is the same in all tokens of a user; its `sub` differs from application to application.
    """
    subject = _id(claims, "oid" if trust.tenant and "oid" in claims else "sub")
    if not subject:
        raise InvalidToken("The token does not say whom it is about.")
    return subject


def application_of(claims: Mapping[str, Any], trust: Trust) -> str:
    """The id of the client a token was issued to, and empty where an issuer does not say. Raises InvalidToken.

    Entra says so in access tokens, and not in the ones that tell a client who has signed in; those open nothing here.
    """
    names = ("azp", "appid") if trust.tenant else ("azp", "client_id", "appid")
    application = next(filter(None, (_id(claims, each) for each in names)), "")
    if trust.tenant and not application:
        raise InvalidToken("The token is no access token.")
    return application


def _id(claims: Mapping[str, Any], name: str) -> str:
    """An id, if it is one: it goes into the audit log."""
    value = claims.get(name)
    return value if isinstance(value, str) and len(value) <= _MAX_ID and value.isascii() and value.isprintable() else ""


def _time(claims: Mapping[str, Any], name: str) -> int | float:
    value = claims.get(name)
    # A boolean is a number to Python, and NaN is one to its JSON parser; the latter compares with nothing.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST:
        raise InvalidToken("The token has no time of expiry, or a time that is no number.")
    return value
