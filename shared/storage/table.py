"""The index table as four calls: get a row, read a range in pages, commit a transaction, make sure the table exists.

This is the only module that knows the table SDK, so its encoding can be replaced where a profile says so. It knows
nothing of DICOM. SDK errors end here: losing a race is a value (`Clash`, `Stale`), everything else is `Unavailable`.

Facts:
- An entity group transaction takes at most 100 operations and 4 MiB, all in one partition, each row at most once.
- An answer can be lost: when the connection breaks the SDK does not send a transaction again and nobody knows what
  became of it (`Unknown`); when a gateway answers for the service it does, and the second attempt meets the rows of the
  first (`Clash`, `Stale`). So whoever commits must read back before believing any of the three.
- A page may come back empty with a continuation token; `pages` follows tokens to the end and gives no empty page.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.data.tables import (
    EdmType,
    EntityProperty,
    TableEntity,
    TableErrorCode,
    TableTransactionError,
    UpdateMode,
)
from azure.data.tables.aio import TableClient

from shared.storage.failures import unavailable
from shared.storage.keys import KeyRange

#: Operations in one entity group transaction.
MAX_OPERATIONS = 100
#: Bytes of one transaction, as `Operation.size` estimates them; the service's own limit is 4 MiB.
MAX_TRANSACTION_BYTES = 3 * 1024 * 1024
#: Bytes of one binary column (the limit is 64 KiB).
MAX_BINARY_COLUMN = 60 * 1024
#: UTF-16 code units of one string column (the limit is 64 KiB).
MAX_TEXT_COLUMN = 30 * 1024

#: What a column may hold. Whole numbers are stored with 64 bits.
type Column = str | int | bytes
type Columns = Mapping[str, Column]


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its RowKey, its ETag (empty where a query that selects columns does not tell) and its columns."""

    key: str
    etag: str
    columns: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """One change of a transaction.

    insert   fails with `Clash` when the row exists
    replace  fails with `Stale` unless the row still has `etag`
    put      writes the row whatever was there
    delete   fails with `Stale` unless the row exists and, where given, still has `etag`
    """

    kind: Literal["insert", "replace", "put", "delete"]
    key: str
    columns: Columns | None = None
    etag: str | None = None

    @property
    def size(self) -> int:
        """An upper estimate of the bytes this operation adds to the request body.

        Binary columns travel as base64; of text outside ASCII a character can take six bytes, beyond the BMP twelve.
        """
        columns = self.columns or {}
        return 1000 + sum(
            len(name) + 40 + (len(value) * 4 // 3 if isinstance(value, bytes) else _json_size(str(value)))
            for name, value in columns.items()
        )


@dataclass(frozen=True, slots=True)
class Committed:
    """Every operation took effect; `etags` has the new ETag of each written row, by RowKey."""

    etags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Clash:
    """Nothing took effect: the row that operation `index` inserts exists already."""

    index: int


@dataclass(frozen=True, slots=True)
class Stale:
    """Nothing took effect: a row has changed, or is gone, since it was read."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody knows whether anything took effect: the answer was lost, or the service was too busy to say."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing took effect, and never will: the operations are more, or larger, than the service takes."""


type CommitAnswer = Committed | Clash | Stale | Unknown | Refused


class IndexTable:
    """The index table behind one SDK client."""

    def __init__(self, client: TableClient) -> None:
        self._client = client

    async def ensure(self) -> None:
        """Create the table if it does not exist."""
        try:
            await self._client.create_table()
        except ResourceExistsError:
            pass
        except AzureError as error:
            raise unavailable("the index", error) from error

    async def get(self, partition: str, key: str, *, select: Sequence[str] | None = None) -> Row | None:
        """One row, or None; `select` names the columns to bring."""
        # Where the service leaves the ETag out of a row, the SDK makes it from the Timestamp.
        names = ["Timestamp", *select] if select else None
        try:
            entity = await self._client.get_entity(partition, key, select=names)
        except ResourceNotFoundError:
            return None
        except AzureError as error:
            raise unavailable("the index", error) from error
        return Row(key, _etag(entity), _columns(entity))

    async def pages(
        self,
        partition: str,
        keys: KeyRange,
        *,
        where: str = "",
        select: Sequence[str] | None = None,
        page_size: int = 1000,
    ) -> AsyncIterator[list[Row]]:
        """The rows of a key range in the order of their keys, a page per storage call.

        `where` is an OData condition on columns (made by `condition`), `page_size` at most 1000 rows.
        """
        query = f"PartitionKey eq {quote(partition)} and RowKey ge {quote(keys.low)} and RowKey lt {quote(keys.high)}"
        if where:
            query = f"{query} and {where}"
        names = ["RowKey", *select] if select else None
        pages = self._client.query_entities(query, select=names, results_per_page=page_size).by_page()
        try:
            async for page in pages:
                rows = [Row(entity["RowKey"], _etag(entity), _columns(entity)) async for entity in page]
                if rows:  # a page may be empty and have others behind it
                    yield rows
        except AzureError as error:
            raise unavailable("the index", error) from error

    async def commit(self, partition: str, operations: Sequence[Operation]) -> CommitAnswer:
        """Run all operations as one entity group transaction: either every one takes effect or none does.

        Raises Unavailable when the service refuses for a reason that has nothing to do with the operations.
        """
        if len(operations) > MAX_OPERATIONS:
            return Refused()
        try:
            answers = await self._client.submit_transaction([_sdk_operation(partition, each) for each in operations])
        except TableTransactionError as error:
            code = getattr(error, "error_code", None)
            if code == TableErrorCode.ENTITY_ALREADY_EXISTS:
                return Clash(error.index)
            if code in _STALE_CODES:
                return Stale()
            return _answer_of(error)
        except ResourceExistsError:
            return Clash(0)
        except ResourceNotFoundError:
            return Stale()
        except HttpResponseError as error:
            return _answer_of(error)
        except (ServiceRequestError, ServiceResponseError):
            return Unknown()
        except AzureError as error:
            raise unavailable("the index", error) from error
        return Committed(
            {
                operation.key: answer["etag"]
                for operation, answer in zip(operations, answers, strict=True)
                if answer.get("etag")
            }
        )


def _answer_of(error: HttpResponseError) -> CommitAnswer:
    """What an error status says of a transaction. Raises Unavailable for those that say nothing of it."""
    if error.status_code in (400, 413):
        return Refused()
    if error.status_code is not None and error.status_code >= 500:
        return Unknown()
    raise unavailable("the index", error) from error


_STALE_CODES = (
    TableErrorCode.UPDATE_CONDITION_NOT_SATISFIED,
    TableErrorCode.RESOURCE_NOT_FOUND,
    TableErrorCode.ENTITY_NOT_FOUND,
)


def quote(text: str) -> str:
    """Text as an OData string literal."""
    return "'" + text.replace("'", "''") + "'"


def condition(column: str, comparison: Literal["eq", "ge", "le", "lt"], text: str) -> str:
    """One OData comparison of a string column, as the service compares: by UTF-16 code unit."""
    return f"{column} {comparison} {quote(text)}"


def _json_size(text: str) -> int:
    return len(text) + 2 if text.isascii() else len(text.encode("utf-16-le", "replace")) * 3


def _etag(entity: TableEntity) -> str:
    return entity.metadata["etag"] or ""


def _columns(entity: TableEntity) -> dict[str, Any]:
    return {
        name: value.value if isinstance(value, EntityProperty) else value
        for name, value in entity.items()
        if name not in ("PartitionKey", "RowKey")
    }


def _sdk_operation(partition: str, operation: Operation) -> Any:
    entity: dict[str, Any] = {"PartitionKey": partition, "RowKey": operation.key}
    for name, value in (operation.columns or {}).items():
        entity[name] = EntityProperty(value, EdmType.INT64) if isinstance(value, int) else value
    match operation.kind:
        case "insert":
            return ("create", entity)
        case "put":
            return ("upsert", entity, {"mode": UpdateMode.REPLACE})
        case "replace":
            return ("update", entity, {"mode": UpdateMode.REPLACE, **_if_unchanged(operation)})
        case "delete":
            return ("delete", entity, _if_unchanged(operation) if operation.etag else {})


def _if_unchanged(operation: Operation) -> dict[str, Any]:
    return {"etag": cast(str, operation.etag), "match_condition": MatchConditions.IfNotModified}
