"""The edge: what goes around every function of function_app.py, in this order.

    1  a browser's preflight is answered
    2  the token is checked, and whether its bearer may do this: 401, 403
    3  what no request may have is refused: 400
    4  the handler answers, or its error becomes an answer (problems.py)
    5  the answer is given the headers that all have, and a line in the log of requests and in the audit log

The original service asks for the right to do a thing only after Accept and parameters; here nothing is told to somebody
without it. OPTIONS without a preflight has an empty answer: what a browser wants to know is in its headers.

A service whose settings cannot work has a `Refusal` instead: everything is answered 503, naming the setting.
"""

import functools
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from dataclasses import asdict
from enum import Enum
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from shared.auth.actions import Action, Caller
from shared.auth.gate import Gate
from shared.dicomweb.versions import SUPPORTED_VERSIONS
from shared.errors import Forbidden, InvalidToken, ServiceError, SettingError, Unauthenticated, Unavailable, describe
from shared.storage.usage import Usage, measured
from shared.web.body import drain
from shared.web.cors import Cors, is_preflight
from shared.web.journal import Journal
from shared.web.problems import problem
from shared.web.resource import audited_studies, refuse_long_audit_headers, refuse_markup

type HttpFunction = Callable[[Request], Awaitable[Response]]
type Job = Callable[[Any], Awaitable[Any]]
type JobFunction = Callable[[Any], Awaitable[None]]

#: W3C Trace Context §3.2.2: version 00 ends with the flags, later ones may go on, ff is none, and ids are not zero.
_TRACE_PARENT = re.compile(
    r"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)


class Kind(Enum):
    """What an operation is: its name in the audit log, as the original service has it, and the right it takes."""

    STORE = ("Store", Action.WRITE)
    RETRIEVE = ("Retrieve", Action.READ)
    METADATA = ("RetrieveMetadata", Action.READ)
    RENDERED = ("RetrieveRendered", Action.READ)
    QUERY = ("Query", Action.READ)
    DELETE = ("Delete", Action.DELETE)
    #: What anybody may read, for it holds nothing but what this program's text says, and whether storage answers.
    DESCRIPTION = ("Describe", None)
    #: The same, and what OPTIONS is for (PS3.18 §8.9.1).
    CAPABILITIES = ("RetrieveCapabilities", None)

    def __init__(self, label: str, action: Action | None) -> None:
        self.label = label
        self.action = action


class Edge:
    """What stands around the handlers of one service."""

    def __init__(
        self, gate: Gate, cors: Cors, journal: Journal, seconds: Callable[[], float], new_trace: Callable[[], str]
    ) -> None:
        """`seconds` is a clock that never goes back; `new_trace` gives 32 random hexadecimal digits."""
        self._gate = gate
        self._cors = cors
        self._journal = journal
        self._seconds = seconds
        self._new_trace = new_trace

    def operation(self, kind: Kind) -> Callable[[HttpFunction], HttpFunction]:
        """A decorator for the functions that answer requests."""

        def around(function: HttpFunction) -> HttpFunction:
            @functools.wraps(function)
            async def answered(req: Request) -> Response:
                if is_preflight(req):
                    return self._cors.preflight(req)
                exchange = _Exchange(function.__name__, kind, req, self._new_trace, self._seconds)
                with measured(exchange.usage):
                    response = await self._answer(function, exchange)
                    await self._record(exchange, response)
                if isinstance(response, StreamingResponse):
                    return _Sent(response, exchange, self._journal)
                return response

            return answered

        return around

    def job(self, function: Job) -> JobFunction:
        """A decorator for the functions that timers call. What goes wrong is logged, and raised for the platform."""

        @functools.wraps(function)
        async def run(timer: Any) -> None:
            usage, watch = Usage(), _Watch(self._seconds)
            fields: dict[str, Any] = {"job": function.__name__}
            try:
                with measured(usage):
                    fields["did"] = asdict(await function(timer))
            except Exception as error:
                fields["error"] = _text_of(error)
            fields["ms"] = watch.milliseconds()
            self._journal.job(fields, usage, level=logging.ERROR if "error" in fields else logging.INFO)
            if "error" in fields:
                # The platform logs the text of what it is given.
                raise RuntimeError("the job failed; the log says why")

        return run

    async def _answer(self, function: HttpFunction, exchange: "_Exchange") -> Response:
        request = exchange.request
        try:
            await self._admit(exchange)
            if request.method == "OPTIONS" and exchange.kind is not Kind.CAPABILITIES:
                response = Response(status_code=204)
            else:
                response = await function(request)
        except Exception as error:
            exchange.error = error
            response = problem(error)
            if isinstance(error, Unauthenticated):
                # RFC 6750 §3.1: whoever brought nothing is not told that it was wrong.
                wrong = ', error="invalid_token"' if isinstance(error, InvalidToken) else ""
                response.headers["WWW-Authenticate"] = self._gate.challenge + wrong
        response.headers["api-supported-versions"] = SUPPORTED_VERSIONS
        response.headers["x-ms-request-id"] = exchange.correlation
        for name, value in self._cors.headers(request).items():
            if name == "vary":
                response.headers.add_vary_header(value)
            else:
                response.headers[name] = value
        return response

    async def _admit(self, exchange: "_Exchange") -> None:
        """Raises what keeps a request from its handler, whatever the route."""
        request, action = exchange.request, exchange.kind.action
        try:
            if action is not None and request.method != "OPTIONS":
                exchange.caller = await self._gate.admit(request.headers.getlist("authorization"))
                if not exchange.caller.may(action):
                    raise Forbidden("Authorization failed.")
            refuse_markup(request)
            refuse_long_audit_headers(request)
        except ServiceError:
            await drain(request)
            raise

    async def _record(self, exchange: "_Exchange", response: Response) -> None:
        fields = exchange.fields(response)
        error = exchange.error
        # What the client did wrong is no news; what storage or this program did is.
        level = logging.INFO
        if isinstance(error, Unavailable):
            level = logging.WARNING
        elif response.status_code >= 500:
            level = logging.ERROR
        if level > logging.INFO and error is not None:
            fields["error"] = _text_of(error)
        self._journal.request(fields, exchange.usage, level=level)
        if exchange.kind.action is not None and exchange.request.method != "OPTIONS":
            await self._journal.audit(exchange.audit_fields(response), audited_studies(exchange.request))


class Refusal:
    """The edge of a service that cannot work, and says why: the text of the error names the setting."""

    def __init__(self, error: SettingError) -> None:
        self._text = str(error)

    def operation(self, _: Kind) -> Callable[[HttpFunction], HttpFunction]:
        """As that of an `Edge`; the function is never called."""

        def around(function: HttpFunction) -> HttpFunction:
            @functools.wraps(function)
            async def refused(req: Request) -> Response:
                await drain(req)
                return PlainTextResponse(f"The service is not configured: {self._text}.", 503)

            return refused

        return around

    def job(self, function: Job) -> JobFunction:
        """As that of an `Edge`; the function is never called."""

        @functools.wraps(function)
        async def refused(timer: Any) -> None:
            raise RuntimeError(f"the service is not configured: {self._text}")

        return refused


class _Watch:
    """How long something takes, from now on."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._begun = seconds()

    def milliseconds(self) -> int:
        return round((self._seconds() - self._begun) * 1000)


class _Exchange:
    """One request and what is known of it."""

    def __init__(
        self,
        function: str,
        kind: Kind,
        request: Request,
        new_trace: Callable[[], str],
        seconds: Callable[[], float],
    ) -> None:
        self.function = function
        self.kind = kind
        self.request = request
        self.correlation = _trace_of(request) or new_trace()
        self.caller: Caller | None = None
        self.error: Exception | None = None
        self.usage = Usage()
        self.watch = _Watch(seconds)

    def fields(self, response: Response) -> dict[str, Any]:
        """What the log of requests says; of a body that streams its length is not known yet."""
        length = {} if isinstance(response, StreamingResponse) else {"bytes": len(response.body)}
        return {
            "correlation": self.correlation,
            "operation": self.function,
            "method": self.request.method,
            "status": response.status_code,
            "ms": self.watch.milliseconds(),
            **length,
        }

    def audit_fields(self, response: Response) -> dict[str, Any]:
        """What the audit log says, but for the studies."""
        return {
            "correlation": self.correlation,
            "operation": self.kind.label,
            "method": self.request.method,
            "status": response.status_code,
            "caller": self.caller.subject if self.caller else None,
            "application": self.caller.application if self.caller else None,
        }


class BrokenOff(Exception):
    """The body of an answer broke off; the log of requests says why."""


class _Sent(Response):
    """An answer that says when its body, a stream, has left, and has it counted what that costs.

    It also closes the stream, which Starlette merely forgets when a client hangs up: what has been read ahead would be
    held until the next collection of garbage, and on an idle host there is none.
    """

    def __init__(self, inner: StreamingResponse, exchange: _Exchange, journal: Journal) -> None:
        self._inner = inner
        self._exchange = exchange
        self._journal = journal
        self.status_code = inner.status_code
        self.background = inner.background
        self.raw_headers = inner.raw_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        count, complete = 0, False

        async def counted(message: Message) -> None:
            nonlocal count, complete
            await send(message)
            if message["type"] == "http.response.body":
                count += len(message.get("body", b""))
                complete = not message.get("more_body", False)

        error: Exception | None = None
        try:
            with measured(self._exchange.usage):
                await self._inner(scope, receive, counted)
        except Exception as raised:
            error = raised
            # The server logs the text of what it is given, and closes the connection.
            raise BrokenOff from None
        finally:
            await _close(self._inner.body_iterator)
            fields = {
                "correlation": self._exchange.correlation,
                "operation": self._exchange.function,
                "ms": self._exchange.watch.milliseconds(),
                "bytes": count,
                "complete": complete,
            }
            if error is not None:
                fields["error"] = _text_of(error)
            self._journal.sent(fields, self._exchange.usage)


async def _close(body: AsyncIterable[Any]) -> None:
    if isinstance(body, AsyncGenerator):
        await body.aclose()


def _trace_of(request: Request) -> str | None:
    """The trace a request says that it belongs to (W3C Trace Context), 32 hexadecimal digits."""
    found = _TRACE_PARENT.fullmatch(request.headers.get("traceparent", ""))
    return found[1] if found else None


def _text_of(error: Exception) -> str:
    """What the log may say of an error: the texts of our own are made for that, others may quote values."""
    return str(error) if isinstance(error, ServiceError) else describe(error)
