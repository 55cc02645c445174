"""Storage that takes no key, and a platform that gives out tokens for it: what Azure is to the service, but here.

    with keyless_storage(folder) as storage:
        with storage.place().host(folder / "host.log") as host:
            ...

Azurite answers over TLS to the tokens of Microsoft Entra, with a certificate of the test; its account has a random key
that is forgotten at once. The tokens come from an endpoint like the one that App Service and Functions give an app with
a managed identity. What asks there is the real `DefaultAzureCredential`.

Facts:
- The endpoint is told to the app by two variables, IDENTITY_ENDPOINT and IDENTITY_HEADER. The second is a secret, and
  goes with each request as X-IDENTITY-HEADER, so that whoever gets the app to fetch a URL gets no token.
- Azurite believes a token its issuer, audience and times, whoever signed it, and asks for no role.
"""

import base64
import contextlib
import datetime
import ipaddress
import json
import re
import secrets
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, override
from urllib.parse import parse_qsl, urlsplit

from azure.core.credentials import AccessToken
from azure.data.tables import TableClient, TableServiceClient
from azure.storage.blob import BlobServiceClient, ContainerClient
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from local.azurite import Azurite, Guard, running
from local.settings import ACCOUNT
from tests.auth.issuer import Answer, segment
from tests.e2e.service import Place

RESOURCE = "https://storage.azure.com"
#: What the blob storage of the account would be called in Azure; Azurite takes the account from such a name.
ACCOUNT_HOST = f"{ACCOUNT}.blob.core.windows.net"
#: What the tests' own clients call themselves in the log of the storage.
USER_AGENT = "a-look-behind-the-service"
ISSUER = f"https://sts.windows.net/{uuid.UUID(int=7)}/"


def storage_token(**changes: Any) -> str:
    """A token that Azurite takes for an hour, but for the changes; each is another one."""
    now = int(time.time())
    claims = {
        "aud": RESOURCE,
        "iss": ISSUER,
        "iat": now,
        "nbf": now - 5,
        "exp": now + 3600,
        "uti": secrets.token_hex(8),
    }
    return ".".join((segment({"typ": "JWT", "alg": "RS256"}), segment({**claims, **changes}), segment(b"unsigned")))


@dataclass(frozen=True)
class Asked:
    """One request for a token: its parameters and its secret."""

    parameters: dict[str, str]
    secret: str


@dataclass
class IdentityEndpoint:
    """The token endpoint of a platform whose app has one user-assigned identity; answers from threads of its own."""

    url: str = ""
    secret: str = field(default_factory=lambda: secrets.token_hex(16))
    client_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    #: Everything that was asked.
    asked: list[Asked] = field(default_factory=list)
    #: Every token that was given.
    given: list[str] = field(default_factory=list)
    #: What it says instead of what it should.
    misbehaviour: Callable[[], Answer] | None = None
    #: Seconds that the tokens are good for.
    lifetime: int = 86_400
    #: While this is clear, whoever asks waits.
    willing: threading.Event = field(default_factory=threading.Event)

    def environment(self) -> dict[str, str]:
        """The variables by which the platform tells an app of it, and the app which of its identities to use."""
        return {
            "IDENTITY_ENDPOINT": self.url,
            "IDENTITY_HEADER": self.secret,
            "AZURE_CLIENT_ID": self.client_id,
            # Or a developer's own sign-in might be asked as well, and before it a secret in the environment.
            "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
        }

    def answer(self, asked: Asked) -> Answer:
        """A token, for those who may have one."""
        self.asked.append(asked)
        self.willing.wait()
        if self.misbehaviour is not None:
            return self.misbehaviour()
        if asked.secret != self.secret:
            return Answer(status=403)
        if asked.parameters.get("client_id") != self.client_id:
            return json_answer({"statusCode": 400, "message": "No such identity."}, 400)
        resource, expires = asked.parameters["resource"], int(time.time()) + self.lifetime
        token = storage_token(aud=resource, exp=expires)
        self.given.append(token)
        return json_answer(
            {
                "access_token": token,
                "expires_on": str(expires),
                "resource": resource,
                "token_type": "Bearer",
                "client_id": self.client_id,
            }
        )


def json_answer(content: Any, status: int = 200) -> Answer:
    """What the endpoint says, in its format."""
    return Answer(json.dumps(content).encode(), status, {"Content-Type": "application/json; charset=utf-8"})


@contextlib.contextmanager
def identity_endpoint() -> Iterator[IdentityEndpoint]:
    """An endpoint that listens on the loopback, for the length of the block."""
    endpoint = IdentityEndpoint()
    endpoint.willing.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_for(endpoint))
    server.daemon_threads = True
    endpoint.url = f"http://127.0.0.1:{server.server_address[1]}/msi/token"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        endpoint.willing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _handler_for(endpoint: IdentityEndpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = Asked(dict(parse_qsl(urlsplit(self.path).query)), self.headers.get("X-IDENTITY-HEADER", ""))
            answer = endpoint.answer(asked)
            with contextlib.suppress(ConnectionError):  # whoever asked has had enough
                self.send_response(answer.status)
                for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:
            """The tests count requests themselves."""

    return Handler


@dataclass(frozen=True)
class KeylessStorage:
    """An Azurite that wants tokens, and where they come from."""

    azurite: Azurite
    guard: Guard
    identity: IdentityEndpoint

    def place(self, identity: IdentityEndpoint | None = None) -> "KeylessPlace":
        """A container and a table of its own, reached with the tokens of this endpoint or of another one."""
        return KeylessPlace("", f"k{secrets.token_hex(8)}", self, identity or self.identity)

    @contextlib.contextmanager
    def clients(self, credential: Any = None) -> Iterator[tuple[BlobServiceClient, TableServiceClient]]:
        """A look at the account, with a token of the test unless another credential is given."""
        options: dict[str, Any] = {
            "connection_verify": str(self.guard.certificate),
            "retry_total": 0,
            "user_agent": USER_AGENT,
        }
        credential = credential or _TokenOfTheTest()
        with (
            BlobServiceClient(self.azurite.blob_endpoint, credential=credential, **options) as blobs,
            TableServiceClient(endpoint=self.azurite.table_endpoint, credential=credential, **options) as tables,
        ):
            yield blobs, tables

    def schemes(self, *, of_the_tests: bool = False) -> Counter[str]:
        """How services have authorised themselves so far, by the log of Azurite; or else the clients of `clients`."""
        found = re.findall(r" RequestHeaders:(\{.*?\}) ClientIP=", self.guard.log.read_text(errors="replace"))
        requests: list[dict[str, str]] = [json.loads(headers) for headers in found]
        return Counter(
            each.get("authorization", "none").partition(" ")[0]
            for each in requests
            if (USER_AGENT in each["user-agent"]) == of_the_tests
        )


@dataclass(frozen=True)
class KeylessPlace(Place):
    """A container and a table in storage that takes tokens only; there is no connection string."""

    storage: KeylessStorage
    identity: IdentityEndpoint

    @override
    def environment(self, **settings: str | int) -> dict[str, str]:
        azurite = self.storage.azurite
        return {
            **super().environment(),
            **self.identity.environment(),
            "DICOM_BLOB_ENDPOINT": azurite.blob_endpoint,
            "DICOM_TABLE_ENDPOINT": azurite.table_endpoint,
            "SSL_CERT_FILE": str(self.storage.guard.certificate),
            **{name: str(value) for name, value in settings.items()},
        }

    @contextlib.contextmanager
    def container(self) -> Iterator[ContainerClient]:
        """The container, to look at."""
        with self.storage.clients() as (blobs, _):
            yield blobs.get_container_client(self.name)

    @override
    def blobs(self) -> set[str]:
        with self.container() as container:
            return set(container.list_blob_names())

    @override
    @contextlib.contextmanager
    def table(self) -> Iterator[TableClient]:
        with self.storage.clients() as (_, tables):
            yield tables.get_table_client(self.name)


class _TokenOfTheTest:
    """A credential of the SDKs that needs nobody."""

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return AccessToken(storage_token(), int(time.time()) + 3600)


@contextlib.contextmanager
def keyless_storage(folder: Path) -> Iterator[KeylessStorage]:
    """Storage without keys, its data in memory and its certificate and log in `folder`, for the length of the block."""
    certificate, private_key = make_certificate(folder)
    account_key = base64.b64encode(secrets.token_bytes(64)).decode()
    guard = Guard(certificate, private_key, account_key, folder / "azurite.log")
    with running(guard=guard) as azurite, identity_endpoint() as identity:
        yield KeylessStorage(azurite, guard, identity)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and `ACCOUNT_HOST` that vouches for itself, and its key, as PEM files.

    RFC 5280 §4.2.1: what is trusted must say that it may sign certificates and which key it is of.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "storage of the tests")])
    now = datetime.datetime.now(datetime.UTC)
    allowed = dict.fromkeys(
        ("content_commitment", "data_encipherment", "key_agreement", "crl_sign", "encipher_only", "decipher_only"),
        False,
    )
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName(ACCOUNT_HOST)]
    usage = x509.KeyUsage(digital_signature=True, key_encipherment=True, key_cert_sign=True, **allowed)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(usage, critical=True)
        .sign(key, SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files
