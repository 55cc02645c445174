"""Metadata and bulk data through the store service: what is stored, what fails alone, and what fails the request."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pydicom
import pytest

from shared.dicom.encapsulation import BulkPart
from shared.dicomweb.store_request import BulkDataPart, MetadataPart
from shared.dicomweb.store_response import FailureReason, WarningReason
from shared.errors import BadRequest, TooLarge, Unavailable
from shared.model import Scope
from shared.services import composed as module
from shared.services import spool
from shared.services.composed import DescribedPart
from shared.services.judging import Outcome, StoreRequest
from shared.services.spool import Spool
from shared.services.store import StoreLimits, StoreService
from tests.builders import INSTANCE, SECONDARY_CAPTURE, SERIES, STUDY
from tests.services.conftest import Services, scope_of

BASE = "https://host/v2/studies"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"


def metadata(sop: str = INSTANCE, **more: Any) -> dict[str, Any]:
    """A data set whose pixel data is apart, under the name `pixels/{sop}`."""
    return {
        "00080016": {"vr": "UI", "Value": [SECONDARY_CAPTURE]},
        "00080018": {"vr": "UI", "Value": [sop]},
        "0020000D": {"vr": "UI", "Value": [STUDY]},
        "0020000E": {"vr": "UI", "Value": [SERIES]},
        "00100020": {"vr": "LO", "Value": ["ID"]},
        "00280010": {"vr": "US", "Value": [2]},
        "00280011": {"vr": "US", "Value": [4]},
        "00280100": {"vr": "US", "Value": [8]},
        "7FE00010": {"vr": "OB", "BulkDataURI": f"pixels/{sop}"},
        **more,
    }


def described(*documents: Any) -> DescribedPart:
    """A part of metadata: one data set, or several as an array; text as it is."""
    document = documents[0] if len(documents) == 1 else list(documents)
    return raw(document if isinstance(document, bytes) else json.dumps(document).encode())


def raw(data: bytes, role: MetadataPart | BulkDataPart | None = None, size: int = 1 << 20) -> DescribedPart:
    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(data), size):
            yield data[at : at + size]

    return DescribedPart(role or MetadataPart(), chunks())


def bulk(
    name: str, data: bytes, syntax: str | None = None, *, jpeg: bool = False, size: int = 1 << 20
) -> DescribedPart:
    return raw(data, BulkDataPart((f"https://host/v2/{name}",), syntax, jpeg), size)


async def put(services: Services, *parts: DescribedPart, study: str | None = None) -> list[Outcome]:
    async def stream() -> AsyncIterator[DescribedPart]:
        for part in parts:
            yield part

    wanted = StoreRequest(study, replaces=False, lenient=True)
    return await services.store.store_composed(stream(), BASE, wanted)


async def test_data_sets_become_instances_with_the_bulk_data_they_name(services: Services) -> None:
    sops = [f"{SERIES}.{number}" for number in range(3)]
    documents = [metadata(sop) for sop in sops]
    parts = [bulk(f"pixels/{sop}", sop[-1:].encode() * 8, size=3) for sop in reversed(sops)]
    outcomes = await put(services, described(*documents[:2]), described(documents[2]), *parts)
    assert [(each.failure, each.warning, each.sop_instance) for each in outcomes] == [(None, None, sop) for sop in sops]
    for outcome in outcomes:
        assert outcome.key is not None
        ((syntax, file),) = await services.files(scope_of(outcome.key))
        assert syntax == "1.2.840.10008.1.2.1"
        assert await services.frames(outcome.key, 1) == [outcome.key.instance[-1:].encode() * 8]
        (data_set,) = json.loads(await services.metadata(scope_of(outcome.key)))
        assert data_set["00100020"]["Value"] == ["ID"]
        assert file.endswith(outcome.key.instance[-1:].encode() * 8)
    assert await services.count(STUDY) == 3


async def test_compressed_frames_are_found_as_frames(services: Services) -> None:
    frames = [b"\xff\xd8\xff\xc0\x00\x0bframe-%d-\xff\xd9" % number for number in range(3)]
    document = metadata(**{"00280008": {"vr": "IS", "Value": [3]}})
    same_name = [bulk(f"pixels/{INSTANCE}", frame, jpeg=True) for frame in frames]
    (outcome,) = await put(services, described(document), *same_name)
    assert outcome.key is not None
    ((syntax, _),) = await services.files(scope_of(outcome.key))
    assert syntax == JPEG_BASELINE
    found = await services.frames(outcome.key, 1, 2, 3)
    assert [frame.rstrip(b"\0") for frame in found] == frames


async def test_frames_may_be_named_by_their_number(services: Services) -> None:
    document = metadata(**{"00280008": {"vr": "IS", "Value": [3]}})
    parts = [bulk(f"pixels/{INSTANCE}/frames/{number}", b"frame %d." % number, JPEG_BASELINE) for number in (3, 1, 2)]
    (outcome,) = await put(services, described(document), *parts)
    assert outcome.key is not None
    assert await services.frames(outcome.key, 1, 2, 3) == [b"frame 1.", b"frame 2.", b"frame 3."]


async def test_a_data_set_that_makes_no_file_fails_alone_and_says_why(services: Services) -> None:
    good, bad, worse = (f"{SERIES}.{number}" for number in (1, 2, 3))
    outcomes = await put(
        services,
        described(metadata(good), metadata(bad), metadata(worse, **{"00280010": {"vr": "US", "Value": ["x"]}})),
        bulk(f"pixels/{good}", bytes(8)),
        bulk(f"pixels/{worse}", bytes(8)),
    )
    assert [each.failure for each in outcomes] == [
        None,
        FailureReason.CANNOT_UNDERSTAND,
        FailureReason.CANNOT_UNDERSTAND,
    ]
    assert [each.sop_instance for each in outcomes] == [good, bad, worse]
    assert [[comment.tag for comment in each.comments] for each in outcomes] == [[], ["7FE00010"], ["00280010"]]
    assert await services.count(STUDY) == 1
    assert len(await services.bench.blobs()) == 1


async def test_what_is_composed_is_judged_as_any_file(services: Services) -> None:
    inline = {"7FE00010": {"vr": "OB", "InlineBinary": "AAECAwQFBgc="}}
    odd = metadata(f"{SERIES}.1", **inline, **{"00080020": {"vr": "DA", "Value": ["never"]}})
    (outcome,) = await put(services, described(odd))
    assert (outcome.failure, outcome.warning) == (None, WarningReason.INDEXED_WITHOUT_INVALID_ATTRIBUTES)
    nobody = metadata(f"{SERIES}.2", **inline)
    del nobody["00100020"]
    (outcome,) = await put(services, described(nobody))
    assert outcome.failure is FailureReason.CANNOT_UNDERSTAND
    (outcome,) = await put(services, described(metadata(f"{SERIES}.3", **inline)), study="1.2.3")
    assert outcome.failure is FailureReason.CANNOT_UNDERSTAND


async def test_no_data_sets_are_no_outcomes(services: Services) -> None:
    assert await put(services) == []
    assert await put(services, described(b"[]")) == []


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"\xff\xfe", b'[{"a": secret}]', b"\xed\xa0\x80"])
async def test_metadata_that_cannot_be_read_fails_the_request(services: Services, text: bytes) -> None:
    inline = metadata(**{"7FE00010": {"vr": "OB", "InlineBinary": ""}})
    with pytest.raises(BadRequest) as raised:
        await put(services, described(inline), described(text))
    assert "secret" not in str(raised.value)
    assert await services.count(STUDY) == 0
    assert await services.bench.blobs() == []


async def test_a_byte_order_mark_is_no_part_of_the_metadata(services: Services) -> None:
    document = json.dumps(metadata(**{"7FE00010": {"vr": "OB"}})).encode("utf-8-sig")
    (outcome,) = await put(services, described(document))
    assert outcome.failure is None


async def test_too_much_of_either_fails_the_request(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    services.store = StoreService(
        services.archive, StoreLimits(1000, 1_000_000, 4), services.version, services.store._parsing
    )
    with pytest.raises(TooLarge, match="1000 bytes"):
        await put(services, described(metadata()), bulk("a", bytes(600)), bulk("b", bytes(600)))
    with pytest.raises(TooLarge, match="1000 bytes"):
        await put(services, described(metadata()), bulk(f"pixels/{INSTANCE}", bytes(990)))
    monkeypatch.setattr(module, "MAX_METADATA_BYTES", 2000)
    with pytest.raises(TooLarge, match="2000 bytes"):
        await put(services, described(metadata(), metadata()), described(metadata(), metadata()))
    assert await services.bench.blobs() == []


async def test_much_bulk_data_waits_on_disk(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "IN_MEMORY", 1000)
    spools: list[Spool] = []
    init = Spool.__init__

    def noted(self: Spool, *args: Any) -> None:
        init(self, *args)
        spools.append(self)

    monkeypatch.setattr(Spool, "__init__", noted)
    pixels = bytes(range(256)) * 10_000
    size = {"00280010": {"vr": "US", "Value": [1000]}, "00280011": {"vr": "US", "Value": [2560]}}
    icon = {"00091001": {"vr": "OB", "BulkDataURI": "other"}}
    (outcome,) = await put(
        services,
        described(metadata(**size, **icon)),
        bulk("other", b"x" * 5000),
        bulk(f"pixels/{INSTANCE}", pixels, size=70_000),
    )
    assert outcome.key is not None
    assert await services.frames(outcome.key, 1) == [pixels]
    ((_, file),) = await services.files(Scope(STUDY))
    assert pydicom.dcmread(pydicom.filebase.DicomBytesIO(file))[0x0009, 0x1001].value == b"x" * 5000
    (used,) = spools
    assert used._file._rolled  # type: ignore[attr-defined]
    assert used._file.closed


async def test_a_full_disk_is_no_defect_of_the_request(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Spool, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Spool, "_write", full)
    with pytest.raises(Unavailable, match="temporary disk"):
        await put(services, described(metadata()), bulk("a", b"x"))


async def test_the_spool_keeps_parts_apart(services: Services) -> None:
    async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    kept = Spool(100, services.store._parsing)
    parts = [await kept.add(chunks(b"one", b"two")), await kept.add(chunks()), await kept.add(chunks(b"three"))]
    assert parts == [BulkPart(0, 6), BulkPart(6, 0), BulkPart(6, 5)]
    assert await kept.read(3, 5) == b"twoth"
    assert b"".join([piece async for piece in kept.stream([b"a", *reversed(parts), b"z"])]) == b"athreeonetwoz"
    kept.close()
