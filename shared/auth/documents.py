"""What an issuer publishes, fetched: JSON of bounded size, in bounded time, from the very place that was asked for.

Facts. Whoever can change these documents can sign tokens, so they come over HTTPS; plain HTTP is for an issuer on the
same machine. A redirect would let an open redirect on the issuer's host choose the keys. Compression is not asked for,
and not undone: what is read is what was sent.
"""

import json
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import aiohttp

#: Bytes of one document that are read; Entra's keys take some 20 KiB.
MAX_DOCUMENT_BYTES = 256 * 1024
#: Seconds from asking until all of it is there.
TIMEOUT = 5.0


class Undelivered(Exception):
    """What the issuer publishes cannot be had; the text says why, and holds nothing of what was sent."""


def may_be_asked(url: str) -> bool:
    """Whether documents may come from this URL: https, or http on the same machine, without credentials."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or parts.username is not None or "#" in url or not url.isascii() or not url.isprintable():
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_this_machine(host))


async def json_at(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    """The JSON object at `url`. Raises Undelivered."""
    if not may_be_asked(url):
        raise Undelivered("a URL is neither https nor on this machine")
    try:
        async with session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise Undelivered(f"the issuer answered {response.status}")
            document = json.loads(await _body_of(response))
    except TimeoutError:
        raise Undelivered("the issuer did not answer in time") from None
    except aiohttp.ClientError as error:
        raise Undelivered(f"the issuer cannot be reached ({type(error).__name__})") from None
    except (ValueError, RecursionError):
        raise Undelivered("the issuer did not answer with JSON") from None
    if not isinstance(document, dict):
        raise Undelivered("the issuer did not answer with a JSON object")
    return document


def session(timeout: float = TIMEOUT) -> aiohttp.ClientSession:
    """A session for `json_at`, to be closed after it; `timeout` is in seconds for each document."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=timeout),
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def _body_of(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > MAX_DOCUMENT_BYTES:
            raise Undelivered(f"the issuer sends more than {MAX_DOCUMENT_BYTES} bytes")
    return bytes(body)


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
