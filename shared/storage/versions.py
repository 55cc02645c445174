"""The versions that blobs belong to, by the time they were made: what the search for orphans goes through.

The name of a blob is its version id, for a sidecar followed by a dot and what it holds. The id begins with the time, so
blobs made since a moment are few listings away: one for each span of names from then on.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from shared.model import InstanceKey
from shared.storage import keys
from shared.storage.blobs import BlobStore


@dataclass(frozen=True, slots=True)
class BlobVersion:
    """The blobs of one version: when it was made, in microseconds since 1970, and which instance they say they are of.

    `owner` is None where none says so: an upload was being undone when its process died.
    """

    version: str
    made: int
    owner: InstanceKey | None
    blobs: tuple[str, ...]


async def list_versions(blobs: BlobStore, since: int, until: int) -> AsyncIterator[BlobVersion]:
    """The versions made from `since` to before `until`, oldest first; with a `since` of 0 every blob is listed."""
    found: BlobVersion | None = None
    for prefix in _prefixes(since, until):
        async for blob in blobs.list_names(prefix):
            version = keys.version_of_blob(blob.name)
            made = keys.time_of_version(version)
            if made is None or made < since:
                continue  # not a blob of ours, or looked at before
            if made >= until:
                break
            if found is not None and found.version == version:
                found = BlobVersion(version, made, found.owner or blob.owner, (*found.blobs, blob.name))
                continue
            if found is not None:
                yield found
            found = BlobVersion(version, made, blob.owner, (blob.name,))
    if found is not None:
        yield found


def _prefixes(since: int, until: int) -> list[str]:
    """What the names of all blobs made from `since` to before `until` begin with, in order."""
    if since == 0:
        return [""]  # the first blob may have been made at any time
    span = keys.VERSION_PREFIX_SPAN
    return [keys.version_prefix(start) for start in range(since // span * span, until, span)]
