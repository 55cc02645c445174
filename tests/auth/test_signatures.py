"""Which signatures and headers of tokens do not count, whatever the claims say."""

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.hashes import SHA256

from shared.auth.gate import Gate
from shared.auth.tokens import claims_of, key_name
from shared.auth.trust import trust_of
from shared.errors import InvalidToken
from tests.auth.gates import NOW, admitted, settings_for, short
from tests.auth.issuer import LocalIssuer, encoded, segment, signed, signed_with_secret, signing_key

STRANGER = 77


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "", "HS256", "RS384", "RS512", "PS256", "ES256", "rs256"]
)
async def test_another_algorithm_does_not_count(gate: Gate, issuer: LocalIssuer, algorithm: str) -> None:
    with pytest.raises(InvalidToken, match="RS256"):
        await admitted(gate, issuer.sign(issuer.claims(NOW), alg=algorithm))


@pytest.mark.parametrize("algorithm", [None, 256, ["RS256"], {"RS256": 1}])
async def test_an_algorithm_is_a_text(gate: Gate, issuer: LocalIssuer, algorithm: object) -> None:
    with pytest.raises(InvalidToken, match="RS256"):
        await admitted(gate, issuer.sign(issuer.claims(NOW), alg=algorithm))


@pytest.mark.parametrize("signature", ["", "AA", "A" * 342])
async def test_a_token_without_a_signature_does_not_count(gate: Gate, issuer: LocalIssuer, signature: str) -> None:
    for algorithm in ("none", "RS256"):
        header = {"alg": algorithm, "kid": issuer.key.name}
        with pytest.raises(InvalidToken):
            await admitted(gate, f"{segment(header)}.{segment(issuer.claims(NOW))}.{signature}")


async def test_the_public_key_is_no_secret_to_sign_with(gate: Gate, issuer: LocalIssuer) -> None:
    public = issuer.key.private.public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    jwk = issuer.key.jwk()
    for secret in (pem, pem.strip(), der, json.dumps(jwk).encode(), jwk["n"].encode(), b""):
        for algorithm in ("HS256", "RS256"):
            header = {"alg": algorithm, "typ": "JWT", "kid": issuer.key.name}
            with pytest.raises(InvalidToken):
                await admitted(gate, signed_with_secret(header, issuer.claims(NOW), secret))


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
async def test_the_right_key_with_another_algorithm_does_not_count(
    gate: Gate, issuer: LocalIssuer, algorithm: str
) -> None:
    with pytest.raises(InvalidToken, match="RS256"):
        await admitted(
            gate, jwt.encode(issuer.claims(NOW), issuer.key.private, algorithm, headers={"kid": issuer.key.name})
        )


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256", "HS256", "none"])
def test_the_signature_is_checked_with_one_algorithm_whatever_the_header_says(
    issuer: LocalIssuer, algorithm: str
) -> None:
    # What `key_name` refuses before would not be believed here, either.
    key = {"HS256": "x" * 64, "none": ""}.get(algorithm, issuer.key.private)
    token = jwt.encode(issuer.claims(NOW), key, algorithm, headers={"kid": issuer.key.name})
    with pytest.raises(InvalidToken):
        claims_of(token, issuer.key.private.public_key(), trust_of(settings_for(issuer)), NOW)


async def test_pss_padding_under_the_name_of_rs256_does_not_count(gate: Gate, issuer: LocalIssuer) -> None:
    content = f"{segment({'alg': 'RS256', 'kid': issuer.key.name})}.{segment(issuer.claims(NOW))}"
    pss = padding.PSS(padding.MGF1(SHA256()), padding.PSS.DIGEST_LENGTH)
    signature = issuer.key.private.sign(content.encode(), pss, SHA256())
    with pytest.raises(InvalidToken, match="not signed by the issuer"):
        await admitted(gate, f"{content}.{encoded(signature)}")


async def test_a_key_of_another_kind_does_not_count(gate: Gate, issuer: LocalIssuer) -> None:
    token = jwt.encode(
        issuer.claims(NOW), ec.generate_private_key(ec.SECP256R1()), "ES256", headers={"kid": issuer.key.name}
    )
    with pytest.raises(InvalidToken, match="RS256"):
        await admitted(gate, token)


async def test_another_key_of_the_same_name_does_not_count(gate: Gate, issuer: LocalIssuer) -> None:
    with pytest.raises(InvalidToken, match="not signed by the issuer"):
        await admitted(gate, issuer.sign(issuer.claims(NOW), signing_key(STRANGER), kid=issuer.key.name))


@pytest.mark.parametrize("name", [None, "", 5, ["key-0-2048"], {"a": 1}, True])
async def test_a_token_names_its_key(gate: Gate, issuer: LocalIssuer, name: object) -> None:
    with pytest.raises(InvalidToken, match="name its key"):
        await admitted(gate, issuer.sign(issuer.claims(NOW), kid=name))
    assert issuer.requests == []


@pytest.mark.parametrize(
    "header", [{"crit": ["b64"], "b64": True}, {"crit": ["exp"]}, {"crit": []}, {"b64": False}, {"b64": True}]
)
async def test_extensions_do_not_count(gate: Gate, issuer: LocalIssuer, header: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken, match="extensions"):
        await admitted(gate, issuer.sign(issuer.claims(NOW), **header))


@pytest.mark.parametrize("kind", ["dpop+jwt", "logout+jwt", "secevent+jwt", "id_token", "", 5, ["JWT"]])
async def test_other_kinds_of_tokens_do_not_count(gate: Gate, issuer: LocalIssuer, kind: object) -> None:
    with pytest.raises(InvalidToken, match="no access token"):
        await admitted(gate, issuer.sign(issuer.claims(NOW), typ=kind))


@pytest.mark.parametrize(
    "header", [b"", b"{", b"[]", b'"RS256"', b"null", b"\xff\xfe", b"[" * 9000, b'{"a":' * 1800], ids=short
)
async def test_a_header_that_is_no_object_does_not_count(gate: Gate, issuer: LocalIssuer, header: bytes) -> None:
    with pytest.raises(InvalidToken):
        await admitted(gate, signed(header, issuer.claims(NOW), issuer.key.private))
    assert issuer.requests == []


@pytest.mark.parametrize("nested", [b"[" * 100_000, b'{"a":' * 100_000], ids=short)
def test_a_header_may_be_nested_deeper_than_the_parser_goes(nested: bytes) -> None:
    with pytest.raises(InvalidToken, match="cannot be read"):
        key_name(f"{segment(nested)}.e30.AA")
