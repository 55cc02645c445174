"""Every exception the service raises on purpose.

    ServiceError
    ├── BadRequest            the request breaks a rule of PS3.18 or of this service
    ├── Unauthenticated       there is no token, or none that counts
    │   └── InvalidToken      there is one, and it does not count
    ├── Forbidden             the caller may not do this
    ├── NotFound              no such study, series, instance, frame or route
    ├── NotAcceptable         no representation on offer satisfies Accept
    │   ├── CannotTranscode   the pixel data cannot be turned into the transfer syntax asked for
    │   └── CannotRender      no image can be made of the pixel data
    ├── RangeNotSatisfiable   no byte of the representation is in the range asked for
    ├── TooLarge              one instance is larger than the limit
    ├── UnsupportedMedia      the body, or a part of it, is not of a type that can be stored
    └── Unavailable           storage, or the issuer of tokens, is busy or unreachable; trying again later may work
    MalformedDicom            one instance cannot be read; the instance fails, not the request
    MalformedRow              a row of the index is none that this service writes
    SettingError              a setting has a value the service cannot run with

Only `ServiceError` is ever turned into a 4xx or 503 answer (`web/problems.py` holds the table). Anything else is
a defect and becomes an opaque 500.

The message of each is shown to clients and may be logged. It says what was expected and what came, and never
holds a value taken from a data set: values identify patients.
"""

import traceback
from pathlib import Path


class ServiceError(Exception):
    """Base of all errors that describe the request rather than a defect of the service."""


class BadRequest(ServiceError):
    """The request is not well formed."""


class Unauthenticated(ServiceError):
    """Tokens are required, and the request has none that counts (RFC 6750 §3)."""


class InvalidToken(Unauthenticated):
    """The request carries a token that does not count (`invalid_token` of RFC 6750 §3.1)."""


class Forbidden(ServiceError):
    """The caller lacks the right to do this."""


class NotFound(ServiceError):
    """The target resource does not exist."""


class NotAcceptable(ServiceError):
    """No representation on offer satisfies the Accept header (PS3.18 §8.7.8)."""


class CannotTranscode(NotAcceptable):
    """The stored pixel data cannot be turned into the transfer syntax that was asked for."""


class CannotRender(NotAcceptable):
    """No image can be made of the stored pixel data."""


class RangeNotSatisfiable(ServiceError):
    """The range asked for lies behind the end of the representation (RFC 9110 §15.5.17), which has `length` bytes."""

    def __init__(self, length: int) -> None:
        super().__init__(f"the range lies behind the end of what is {length} bytes long")
        self.length = length


class TooLarge(ServiceError):
    """One instance of the body is larger than the service stores."""


class UnsupportedMedia(ServiceError):
    """The body, or one part of it, is of a media type that cannot be stored."""


class Unavailable(ServiceError):
    """Storage, or the issuer of tokens, did not answer, or refused because it is busy."""


class MalformedDicom(Exception):
    """The bytes of one instance are not a readable PS3.10 file."""


class MalformedRow(Exception):
    """A row of the index is not as docs/storage-format.md says; `row` is its RowKey, which holds UIDs."""

    def __init__(self, row: str) -> None:
        super().__init__("a row of the index is malformed: `python -m admin verify` says which")
        self.row = row


class SettingError(Exception):
    """A setting has a value the service cannot run with; the message names the setting."""


def describe(error: BaseException) -> str:
    """An error nobody foresaw, for the log: its type and where it came from, never its text, which may quote values."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames[-4:]]
    return " < ".join([type(error).__name__, *reversed(places)])
