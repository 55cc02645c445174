"""An issuer of tokens on this machine: real keys, real signatures, real HTTP.

    with LocalIssuer() as issuer:
        # AUTH_ISSUER is issuer.name, AUTH_AUDIENCE is AUDIENCE
        issuer.token(roles=["Dicom.Owner"])

With a tenant it answers as Microsoft Entra does: AUTH_AUTHORITY is issuer.url, AUTH_TENANT_ID is the tenant.
"""

import base64
import functools
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

AUDIENCE = "api://dicom"
SUBJECT = "5a3f0c52-subject"
CLIENT = "c11e0000-client"


@dataclass(frozen=True)
class Answer:
    """What the issuer's web server says."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SigningKey:
    """A key pair and its name."""

    name: str
    private: rsa.RSAPrivateKey

    def jwk(self, **members: Any) -> dict[str, Any]:
        """The public half as issuers publish it; a member that is None is left out."""
        numbers = self.private.public_key().public_numbers()
        whole = {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.name,
            "n": encoded_number(numbers.n),
            "e": encoded_number(numbers.e),
            **members,
        }
        return {name: value for name, value in whole.items() if value is not None}


@functools.cache
def signing_key(number: int, bits: int = 2048) -> SigningKey:
    """The same key for the same number, for making one takes time."""
    return SigningKey(f"key-{number}-{bits}", rsa.generate_private_key(65537, bits))


class LocalIssuer:
    """An issuer that answers from a thread of its own."""

    def __init__(self, tenant: str = "") -> None:
        self.tenant = tenant
        #: Paths that were asked for.
        self.requests: list[str] = []
        #: What it says instead of what it should.
        self.misbehaviour: Callable[[str], Answer] | None = None
        #: While this is clear, whoever asks waits.
        self.willing = threading.Event()
        self.willing.set()
        self._number = 0
        self._published = [signing_key(0)]
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Listen, on a port that was free; after `stop`, on the same one again."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), _handler_for(self))
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Listen no more."""
        self.willing.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    _port = 0

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def name(self) -> str:
        """What its tokens have as `iss`."""
        return f"{self.url}/{self.tenant}/v2.0" if self.tenant else self.url

    @property
    def keys_url(self) -> str:
        """Where its keys are."""
        return f"{self.url}/{self.tenant}/discovery/v2.0/keys" if self.tenant else f"{self.url}/keys"

    @property
    def fetches(self) -> int:
        """How often its keys were asked for."""
        return sum(self.keys_url.endswith(path) for path in self.requests)

    @property
    def key(self) -> SigningKey:
        """The key it signs with."""
        return signing_key(self._number)

    def rotate(self, *, keep: bool = False) -> SigningKey:
        """Sign with a new key from now on; the ones before are published on only with `keep`."""
        self._number += 1
        self._published = [*(self._published if keep else ()), self.key]
        return self.key

    def claims(self, now: float | None = None, **changes: Any) -> dict[str, Any]:
        """The claims of a token that counts for an hour; a change to None leaves the claim out."""
        now = int(time.time() if now is None else now)
        whole = {
            "iss": self.name,
            "aud": AUDIENCE,
            "exp": now + 3600,
            "nbf": now,
            "iat": now,
            "sub": SUBJECT,
            "azp": CLIENT,
            "roles": ["Dicom.Owner"],
            **({"tid": self.tenant, "ver": "2.0"} if self.tenant else {}),
            **changes,
        }
        return {name: value for name, value in whole.items() if value is not None}

    def sign(self, claims: Any, key: SigningKey | None = None, **header: Any) -> str:
        """A token with these claims. Members of its header are added or replaced, or left out if they are None."""
        key = key or self.key
        whole = {"typ": "JWT", "alg": "RS256", "kid": key.name, **header}
        return signed({name: value for name, value in whole.items() if value is not None}, claims, key.private)

    def token(self, now: float | None = None, **changes: Any) -> str:
        """A token that counts, but for the changes."""
        return self.sign(self.claims(now, **changes))

    def answer(self, path: str) -> Answer:
        """What is said to whoever asks for a path."""
        self.requests.append(path)
        self.willing.wait()
        if self.misbehaviour is not None:
            return self.misbehaviour(path)
        if self.keys_url.endswith(path):
            return Answer(self.key_set())
        if f"{self.name}/.well-known/openid-configuration".endswith(path):
            return Answer(json.dumps({"issuer": self.name, "jwks_uri": self.keys_url}).encode())
        return Answer(status=404)

    def key_set(self) -> bytes:
        """The keys it publishes."""
        return json.dumps({"keys": [each.jwk() for each in self._published]}).encode()


def signed(header: Any, claims: Any, key: rsa.RSAPrivateKey) -> str:
    """Any JSON, or any bytes, as a token signed with RS256, whatever the header says."""
    content = f"{segment(header)}.{segment(claims)}"
    return f"{content}.{encoded(key.sign(content.encode(), padding.PKCS1v15(), SHA256()))}"


def signed_with_secret(header: Any, claims: Any, secret: bytes) -> str:
    """The same with HS256."""
    content = f"{segment(header)}.{segment(claims)}"
    return f"{content}.{encoded(hmac.digest(secret, content.encode(), hashlib.sha256))}"


def segment(value: Any) -> str:
    """Part of a token."""
    return encoded(value if isinstance(value, bytes) else json.dumps(value).encode())


def encoded(value: bytes) -> str:
    """RFC 7515 §2."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def encoded_number(value: int) -> str:
    """RFC 7518 §6.3.1."""
    return encoded(value.to_bytes((value.bit_length() + 7) // 8))


def _handler_for(issuer: LocalIssuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = issuer.answer(self.path)
            try:
                self.send_response(answer.status)
                for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)
            except ConnectionError:
                # Whoever asked has had enough.
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """The tests count requests themselves."""

    return Handler
