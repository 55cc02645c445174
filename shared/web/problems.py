"""From errors to answers: the one table of statuses, and what becomes of everything else.

A `ServiceError` is answered with its status and its text. Anything else is a defect: the client gets an opaque 500, the
log gets the type and place of the error, and neither gets its text, which may hold values of a data set.

`answering_problems` is around every handler, so it is also where the one check belongs that goes before all others,
whatever the route: no `<` in the query.
"""

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Concatenate

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from shared.dicomweb.versions import SUPPORTED_VERSIONS
from shared.errors import (
    BadRequest,
    NotAcceptable,
    NotFound,
    RangeNotSatisfiable,
    ServiceError,
    TooLarge,
    Unavailable,
    UnsupportedMedia,
    describe,
)
from shared.web.body import drain
from shared.web.resource import refuse_long_audit_headers, refuse_markup

logger = logging.getLogger(__name__)

#: Status of each error; a class not named here has that of its nearest base.
STATUS: dict[type[ServiceError], int] = {
    BadRequest: 400,
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
        logger.error("a request failed unexpectedly: %s", describe(error))
        return PlainTextResponse("The service failed to process the request. Please try again later.", 500)
    status = next(STATUS[each] for each in type(error).__mro__ if each in STATUS)
    if status == 503:
        logger.warning("storage failed: %s", error)
        return PlainTextResponse(
            "Storage is not available. Please try again later.", 503, {"Retry-After": str(RETRY_AFTER)}
        )
    headers = {"Content-Range": f"bytes */{error.length}"} if isinstance(error, RangeNotSatisfiable) else None
    return PlainTextResponse(str(error), status, headers)


def answering_problems[S, **P](
    handler: Callable[Concatenate[S, Request, P], Awaitable[Response]],
) -> Callable[Concatenate[S, Request, P], Awaitable[Response]]:
    """A handler whose errors have become answers, and whose answers name the versions there are."""

    @functools.wraps(handler)
    async def answered(self: S, request: Request, /, *args: P.args, **kwargs: P.kwargs) -> Response:
        try:
            await _check(request)
            response = await handler(self, request, *args, **kwargs)
        except Exception as error:
            response = problem(error)
        response.headers["api-supported-versions"] = SUPPORTED_VERSIONS
        return response

    return answered


async def _check(request: Request) -> None:
    """What no request may have, whatever it asks for."""
    try:
        refuse_markup(request)
        refuse_long_audit_headers(request)
    except BadRequest:
        await drain(request)
        raise
