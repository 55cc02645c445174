"""The waist at which errors of the storage SDKs end: what becomes of one that no caller knows how to handle."""

import re
from http import HTTPStatus

from azure.core.exceptions import AzureError, HttpResponseError

from shared.errors import Unavailable

_CODE = re.compile(r"[A-Za-z]{1,64}")


def phrase_of(status: int) -> str:
    """What HTTP calls a status; empty for one it does not know."""
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else ""


def unavailable(what: str, error: AzureError) -> Unavailable:
    """The error to raise when `what`, a part of storage, did not do its work.

    The SDK's own text may quote the request, and with it UIDs and names; only its status and code are passed on. What
    is in their place when something between here and storage has answered is not.
    """
    if isinstance(error, HttpResponseError) and error.status_code is not None:
        code = getattr(error, "error_code", None) or error.reason
        code = str(getattr(code, "value", code))
        known = f" ({code})" if _CODE.fullmatch(code) or code == phrase_of(error.status_code) else ""
        return Unavailable(f"{what} answered {error.status_code}{known}")
    return Unavailable(f"{what} could not be reached ({type(error).__name__})")
