"""The log of requests and the audit log: one line of JSON each, and nothing in them that could identify a patient.

    request   when a request has been answered: operation, status, duration, storage calls and bytes, what went wrong
    sent      when the body of its answer, a stream, has left: duration, bytes; not `complete` if the client went before
    audit     who asked for what, of which studies, and what came of it
    job       when a timer's work is done, or has failed

`correlation` binds the lines of a request together, and with the `x-ms-request-id` of its answer. Studies are named by
pseudonyms, or by their UIDs where a setting says so. URLs, queries, bodies and headers of clients are never written.

Facts. The platform keeps what a worker logs only while the function runs, and the body of an answer leaves after it has
returned: so `request` and `audit` come before, and `sent` goes to standard output, which the platform reads as well.
"""

import json
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from shared.storage.usage import Usage

_requests = logging.getLogger("dicomweb.request")
_audit = logging.getLogger("dicomweb.audit")
_jobs = logging.getLogger("dicomweb.job")
_sent = logging.getLogger("dicomweb.sent")

#: Studies that one audit record names.
MAX_STUDIES = 50


class Journal:
    """Writes the lines."""

    def __init__(self, name_of_study: Callable[[str], Awaitable[str]]) -> None:
        """`name_of_study` makes what the audit log calls a study of its UID; where it fails, the study has no name."""
        self._name_of_study = name_of_study

    def request(self, fields: Mapping[str, Any], usage: Usage, *, level: int) -> None:
        """A request has been answered."""
        _write(_requests, "request", {**fields, **_storage(usage)}, level)

    def sent(self, fields: Mapping[str, Any], usage: Usage) -> None:
        """The body of an answer has left, or its client has."""
        _write(_sent, "sent", {**fields, **_storage(usage)})

    def job(self, fields: Mapping[str, Any], usage: Usage, *, level: int) -> None:
        """The work of a timer has ended."""
        _write(_jobs, "job", {**fields, **_storage(usage)}, level)

    async def audit(self, fields: Mapping[str, Any], studies: Sequence[str]) -> None:
        """Somebody asked for something of `studies`, which are UIDs."""
        named: dict[str, Any] = {}
        try:
            named["studies"] = [await self._name_of_study(each) for each in studies[:MAX_STUDIES]]
        except Exception:
            # Whatever it is, the record must be written, and the request has been answered.
            named["studies"] = []
            named["unnamed"] = len(studies)
        if len(studies) > MAX_STUDIES:
            named["unnamed"] = len(studies) - MAX_STUDIES
        _write(_audit, "audit", {**fields, **named})


def log_to_standard_output() -> None:
    """Have `sent` lines written where the platform reads them after a function has returned."""
    if not _sent.handlers:
        _sent.addHandler(logging.StreamHandler(sys.stdout))
    _sent.setLevel(logging.INFO)
    _sent.propagate = False


def _storage(usage: Usage) -> dict[str, Any]:
    return {f"storage{name.title()}": value for name, value in asdict(usage).items()}


def _write(logger: logging.Logger, record: str, fields: Mapping[str, Any], level: int = logging.INFO) -> None:
    if logger.isEnabledFor(level):
        logger.log(level, "%s", json.dumps({"record": record, **fields}, separators=(",", ":")))
