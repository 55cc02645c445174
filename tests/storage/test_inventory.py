"""Blobs and notes sorted on disk: what is chosen, what is left over, and what belongs to whom."""

from collections.abc import Iterator

import pytest

from shared.model import InstanceKey
from shared.storage import inventory as module
from shared.storage import keys
from shared.storage.blobs import BlobName
from shared.storage.inventory import Inventory, ListedVersion
from shared.storage.notes import Garbage, Orphan, UnfinishedDelete

ONE, TWO = InstanceKey("1.2", "1.2.1", "1.2.1.1"), InstanceKey("1.2", "1.2.1", "1.2.1.2")
OTHER = InstanceKey("1.10", "1.10.1", "1.10.1.1")
LATER = 2**51


def version(time: int) -> str:
    return keys.version_id(time, time)


def blob(name: str, owner: InstanceKey | None, length: int = 7) -> BlobName:
    return BlobName(name, owner, length, "etag")


@pytest.fixture
def inventory() -> Iterator[Inventory]:
    with Inventory() as made:
        yield made


def wanted(inventory: Inventory, study: str = "1.2") -> list[tuple[str, InstanceKey]]:
    return [(each.version, each.key) for each in inventory.wanted(study, "", 100)]


def test_the_newest_version_is_chosen_that_is_not_garbage(inventory: Inventory) -> None:
    inventory.add([blob(version(time), ONE, time) for time in (3, 1, 2, 4)] + [blob(version(5), TWO)])
    inventory.note(Garbage((version(4), version(5))))
    inventory.note(Orphan((version(3), version(4)), version(3), ONE))
    inventory.note(UnfinishedDelete("1.2", None, 1))
    inventory.seal()
    assert inventory.choose(LATER) == 0
    assert [(each.version, each.key, each.length) for each in inventory.wanted("1.2", "", 9)] == [(version(3), ONE, 3)]
    assert inventory.count_wanted() == 1
    assert inventory.wanted_of(ONE) == version(3) and inventory.wanted_of(TWO) is None
    assert (inventory.count_garbage(), inventory.count_noted()) == (2, 3)


def test_an_instance_with_a_young_version_is_left_out_and_its_blobs_are_settled(inventory: Inventory) -> None:
    inventory.add([blob(version(1), ONE), blob(version(9), ONE), blob(version(2), TWO), blob(version(8), OTHER)])
    inventory.seal()
    assert inventory.choose(9) == 1
    assert wanted(inventory) == [(version(2), TWO)]
    assert wanted(inventory, "1.10") == [(version(8), OTHER)]
    assert [each.version for each in inventory.unsettled(LATER)] == [version(2), version(8)]


def test_versions_come_oldest_first_a_page_at_a_time(inventory: Inventory) -> None:
    owners = [InstanceKey("1.2", "1.2.1", f"1.2.1.{number}") for number in range(10)]
    inventory.add([blob(version(100 - number), owner) for number, owner in enumerate(owners)])
    inventory.seal()
    inventory.choose(LATER)
    found, after = [], ""
    while page := inventory.wanted("1.2", after, 3):
        after = page[-1].version
        found += [each.key for each in page]
    assert found == owners[::-1]


def test_studies_are_those_of_blobs_and_those_of_the_index(inventory: Inventory) -> None:
    inventory.add([blob(version(1), ONE), blob(version(2), TWO), blob(version(3), OTHER), blob(version(4), None)])
    inventory.seal()
    inventory.add_studies(["1.9", "1.2"])
    assert list(inventory.studies()) == ["1.10", "1.2", "1.9"]
    assert inventory.count_ownerless() == 1


def test_what_is_garbage_meanwhile_is_struck_off(inventory: Inventory) -> None:
    inventory.add([blob(version(1), ONE), blob(version(2), TWO)])
    inventory.seal()
    inventory.choose(LATER)
    assert inventory.strike_off_garbage("1.2", Garbage((version(1), version(7)))) == 1
    assert inventory.is_garbage(version(1)) and not inventory.is_garbage(version(2))
    assert wanted(inventory) == [(version(2), TWO)]
    assert inventory.strike_off(TWO) and not inventory.strike_off(TWO)
    assert wanted(inventory) == []


def test_names_of_another_form_are_only_counted(inventory: Inventory) -> None:
    names = ["readme.txt", f"{version(1)}.other", f"{version(1)}.metadata.bak", version(1).upper() + "A", "0" * 31]
    inventory.add([blob(name, ONE) for name in names])
    inventory.seal()
    assert inventory.foreign == len(names)
    assert list(inventory.unsettled(LATER)) == []


@pytest.mark.parametrize("page", [1, 2, 3, 100])
def test_the_blobs_of_a_version_stay_together_however_they_are_read(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", page)
    first, second = version(1), version(2)
    inventory.add(
        [
            blob(keys.frames_blob(second), TWO),
            *(blob(name, ONE) for name in keys.blobs_of_version(first)),
            blob(second, TWO),
        ]
    )
    inventory.add([blob(version(3), None)])
    inventory.seal()
    inventory.settle([second])
    assert [
        ListedVersion(each.version, each.owner, tuple(sorted(each.blobs))) for each in inventory.unsettled(LATER)
    ] == [
        ListedVersion(first, ONE, tuple(sorted(keys.blobs_of_version(first)))),
        ListedVersion(second, TWO, (keys.frames_blob(second),)),
        ListedVersion(version(3), None, (version(3),)),
    ]
    assert [each.version for each in inventory.unsettled(2)] == [first]
    assert [each.version for each in inventory.unsettled(LATER, "1.2")] == [first, second]
    inventory.settle_all_of(ONE)
    assert [each.version for each in inventory.unsettled(LATER, "1.2")] == [second]
    assert inventory.is_settled(first) and not inventory.is_settled(version(3))


def test_what_a_row_names_and_a_note_calls_garbage_is_doomed(inventory: Inventory) -> None:
    inventory.add([blob(version(1), ONE), blob(version(2), TWO), blob(version(3), OTHER)])
    inventory.seal()
    inventory.settle([version(1), version(3)])
    inventory.note(Garbage((version(1), version(2))))
    assert inventory.doomed() == [(version(1), ONE)]
    assert inventory.find(version(1)) == (7, ONE)
    assert inventory.find(version(9)) is None
    assert inventory.length_of(version(3)) == 7
