"""The waist at which errors of the storage SDKs end: what becomes of one that no caller knows how to handle."""

from azure.core.exceptions import AzureError, HttpResponseError

from shared.errors import Unavailable


def unavailable(what: str, error: AzureError) -> Unavailable:
    """The error to raise when `what`, a part of storage, did not do its work.

    The SDK's own text may quote the request, and with it UIDs and names; only its status and code are passed on.
    """
    if isinstance(error, HttpResponseError) and error.status_code is not None:
        code = getattr(error, "error_code", None) or error.reason
        return Unavailable(f"{what} answered {error.status_code} ({code})")
    return Unavailable(f"{what} could not be reached ({type(error).__name__})")
