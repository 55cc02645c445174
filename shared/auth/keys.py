"""The keys an issuer signs with: found, fetched and judged (RFC 7517).

A key counts if it is an RSA key for signatures with RS256, has a name, and is neither too small nor so large that
checking with it takes long. Others are left out, as RFC 7517 §5 wants it. A document in which none counts is no answer.

Facts. A private key in the document is read for its public half only. Entra marks keys with the issuer they are for,
with a placeholder where that is every tenant; a key of another tenant, such as that of personal accounts, is left out.
"""

from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import RSAAlgorithm

from shared.auth.documents import TIMEOUT, Undelivered, json_at, session
from shared.auth.trust import Trust

type Keys = Mapping[str, RSAPublicKey]

#: The one algorithm tokens may be signed with (RFC 7518 §3.3).
ALGORITHM = "RS256"
#: Bits of a modulus: the least by RFC 7518 §3.3, and the most that is checked in a fraction of a millisecond.
KEY_BITS = (2048, 8192)
#: Keys of one document that are looked at; an issuer has a handful.
MAX_KEYS = 100


class KeySource:
    """Where the keys of an issuer come from."""

    def __init__(self, trust: Trust, timeout: float = TIMEOUT) -> None:
        """`timeout` is in seconds for each document."""
        self._trust = trust
        self._timeout = timeout

    async def fetch(self) -> Keys:
        """The keys of now, by their names. Raises Undelivered."""
        async with session(self._timeout) as asking:
            url = self._trust.keys_url
            if not url:
                url = _keys_url_in(await json_at(asking, _configuration_url(self._trust.authority)), self._trust)
            return keys_in(await json_at(asking, url), self._trust.tenant)


def keys_in(document: Mapping[str, Any], tenant: str = "") -> Keys:
    """The keys of a JWK set that count, by their names. Raises Undelivered if there are none."""
    listed = document.get("keys")
    keys: dict[str, RSAPublicKey] = {}
    for each in listed[:MAX_KEYS] if isinstance(listed, list) else []:
        if isinstance(each, dict) and _is_for_us(each, tenant) and (key := _key(each)) is not None:
            # Names are distinct (RFC 7517 §4.5); where they are not, the first counts.
            keys.setdefault(each["kid"], key)
    if not keys:
        raise Undelivered(f"the issuer publishes no RSA key for {ALGORITHM}")
    return keys


def _configuration_url(issuer: str) -> str:
    """OpenID Connect Discovery 1.0 §4."""
    return f"{issuer.removesuffix('/')}/.well-known/openid-configuration"


def _keys_url_in(configuration: Mapping[str, Any], trust: Trust) -> str:
    """OpenID Connect Discovery 1.0 §4.3: what another issuer says does not count."""
    if configuration.get("issuer") not in trust.issuers:
        raise Undelivered("the OpenID configuration is that of another issuer")
    url = configuration.get("jwks_uri")
    if not isinstance(url, str):
        raise Undelivered("the OpenID configuration does not say where the keys are")
    return url


def _is_for_us(jwk: Mapping[str, Any], tenant: str) -> bool:
    kid, operations, issuer = jwk.get("kid"), jwk.get("key_ops"), jwk.get("issuer")
    return (
        isinstance(kid, str)
        and kid != ""
        and jwk.get("kty") == "RSA"
        and jwk.get("use", "sig") == "sig"
        and jwk.get("alg", ALGORITHM) == ALGORITHM
        and (operations is None or (isinstance(operations, list) and "verify" in operations))
        and (not tenant or not isinstance(issuer, str) or not {tenant, "{tenantid}"}.isdisjoint(issuer.split("/")))
    )


def _key(jwk: Mapping[str, Any]) -> RSAPublicKey | None:
    """The public key of a JWK, if it is one and of a size that counts."""
    numbers = {name: jwk.get(name) for name in ("n", "e")}
    least, most = KEY_BITS
    # Six bits a character; what is longer is not made a number of.
    if not all(isinstance(each, str) and len(each) <= most // 6 + 8 for each in numbers.values()):
        return None
    try:
        key = RSAAlgorithm.from_jwk({"kty": "RSA", **numbers})
    except (ValueError, jwt.PyJWTError):
        return None
    return key if isinstance(key, RSAPublicKey) and least <= key.key_size <= most else None
