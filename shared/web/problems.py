"""From errors to answers: the one table of statuses, and what becomes of everything else.

A `ServiceError` is answered with its status and its text. Anything else is a defect: the client gets an opaque 500, for
the text of the error may hold values of a data set. What the log says is decided in edge.py.
"""

from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response

from shared.errors import (
    BadRequest,
    Forbidden,
    NotAcceptable,
    NotFound,
    RangeNotSatisfiable,
    ServiceError,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnsupportedMedia,
)

#: Status of each error; a class not named here has that of its nearest base.
STATUS: dict[type[ServiceError], int] = {
    BadRequest: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    NotAcceptable: 406,
    TooLarge: 413,
    UnsupportedMedia: 415,
    RangeNotSatisfiable: 416,
    Unavailable: 503,
}

#: Seconds after which a client may try again what storage could not do.
RETRY_AFTER = 2


def problem(error: Exception) -> Response:
    """The answer to a request that failed."""
    if isinstance(error, ClientDisconnect):
        # Nobody is left to read it; the status is for the log of the platform.
        return PlainTextResponse("The request ended before its body did.", 400)
    if not isinstance(error, ServiceError):
        return PlainTextResponse("The service failed to process the request. Please try again later.", 500)
    status = next(STATUS[each] for each in type(error).__mro__ if each in STATUS)
    if status == 503:
        return PlainTextResponse(
            "The service is not available. Please try again later.", 503, {"Retry-After": str(RETRY_AFTER)}
        )
    headers = {"Content-Range": f"bytes */{error.length}"} if isinstance(error, RangeNotSatisfiable) else None
    return PlainTextResponse(str(error), status, headers)
