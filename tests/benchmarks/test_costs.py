"""The calculator counts what the service does, and docs/costs.md shows what the calculator prints."""

from collections import Counter
from dataclasses import fields, replace
from typing import Any

import pytest

from benchmarks import costs
from benchmarks.costs import Assumptions, Meter, Prices, Shape
from shared.config import Settings
from shared.dicomweb import query
from shared.model import Scope
from shared.storage.keys import KeyRange
from shared.storage.table import MAX_OPERATIONS, Row
from tests.builders import SERIES, STUDY, ct_slice, instance
from tests.docs.test_docs import read, section, table
from tests.services import conftest as services_conftest
from tests.services.conftest import Services

services, bench = services_conftest.services, services_conftest.bench

DOCUMENT = "docs/costs.md"
ASSUMED = Assumptions()
PRICES = Prices()
SMALL = Shape(slices=60, bytes_each=1000)
TABLE_CALLS = ("table row", "table query", "table transaction")


def files(number: int) -> list[bytes]:
    return [instance(sop=f"{SERIES}.{each}") for each in range(number)]


def table_calls(calls: Counter[str]) -> int:
    return sum(calls[each] for each in TABLE_CALLS)


# Calls, counted


@pytest.mark.parametrize("number", [1, 30, 45, 60, 250])
async def test_a_study_stored_in_one_request_takes_the_calls_that_are_billed(services: Services, number: int) -> None:
    await services.put_well(*files(number))
    used = costs.stored(Shape(slices=number, bytes_each=1000), ASSUMED, number)
    calls = services.bench.calls
    assert calls["blob put"] == used[Meter.BLOB_WRITES] == number
    # The first transaction may or may not have room for all, beside the search rows.
    assert used[Meter.TABLE_CALLS] - 1 <= table_calls(calls) <= used[Meter.TABLE_CALLS]
    assert set(calls) == {"blob put", "table row", "table transaction"}


async def test_a_study_stored_one_by_one_takes_the_calls_that_are_billed(services: Services) -> None:
    for file in files(10):
        await services.put_well(file)
    used = costs.stored(Shape(slices=10), ASSUMED, 1)
    assert services.bench.calls["blob put"] == used[Meter.BLOB_WRITES] == 10
    assert used[Meter.TABLE_CALLS] - 1 <= table_calls(services.bench.calls) <= used[Meter.TABLE_CALLS]


async def test_a_large_instance_takes_the_writes_that_are_billed(services: Services) -> None:
    file = instance(rows=1024, columns=1024, frames=20)
    await services.put_well(file)
    used = costs.stored(Shape(slices=1, bytes_each=len(file)), ASSUMED, 1)
    calls = services.bench.calls
    assert calls["blob put"] == 0
    assert calls["blob block"] + calls["blob block list"] == used[Meter.BLOB_WRITES] > 1


async def test_a_study_viewed_slice_by_slice_takes_the_calls_that_are_billed(services: Services) -> None:
    keys = await services.put_well(*files(SMALL.slices))
    services.bench.calls.clear()
    found = await services.find(query.STUDIES, PatientID="TEST-1")
    assert len(found.data_sets) == 1
    await services.metadata(Scope(STUDY))
    for key in keys:
        await services.frames(key, 1)
    used = costs.viewed(replace(SMALL, results=len(found.data_sets)), ASSUMED)
    calls = services.bench.calls
    assert (calls["blob read"], table_calls(calls)) == (used[Meter.BLOB_READS], used[Meter.TABLE_CALLS])
    assert set(calls) <= {"blob read", *TABLE_CALLS}


async def test_a_study_retrieved_as_a_whole_takes_the_calls_that_are_billed(services: Services) -> None:
    await services.put_well(*files(SMALL.slices))
    services.bench.calls.clear()
    assert len(await services.files(Scope(STUDY))) == SMALL.slices
    used = costs.fetched(SMALL, ASSUMED)
    calls = services.bench.calls
    assert (calls["blob read"], table_calls(calls)) == (used[Meter.BLOB_READS], used[Meter.TABLE_CALLS])


async def test_a_sweep_that_finds_nothing_takes_the_calls_that_are_billed(services: Services) -> None:
    await services.sweep.sweep()
    runs = ASSUMED.sweeps * costs.HOURS
    assert table_calls(services.bench.calls) == costs.idle(ASSUMED)[Meter.TABLE_CALLS] / runs
    assert set(services.bench.calls) == {"table query"}


# Sizes, measured


def _size(partition: str, row: Row) -> int:
    """Bytes of a row as Table Storage counts them: 4, two per character of keys, and each column with its name."""
    total = 4 + 2 * len(partition + row.key)
    for name, value in row.columns.items():
        content = len(value) + 4 if isinstance(value, bytes) else 2 * len(value) + 4 if isinstance(value, str) else 8
        total += 8 + 2 * len(name) + content
    return total


async def test_the_rows_of_a_study_are_not_larger_than_assumed(services: Services) -> None:
    slices = [ct_slice(number) for number in range(1, 11)]
    await services.put_well(*slices)
    study = instances = 0
    for partition in await services.archive.index.partitions():
        async for page in services.bench.table.pages(partition, KeyRange("!", "~")):
            for row in page:
                one = row.key.startswith(("i!", "x!00080018!"))  # an instance and its search row
                size = _size(partition, row)
                instances += size * one
                study += size * (not one)
    assert 500 < study <= ASSUMED.study_bytes
    assert 500 < instances / len(slices) <= ASSUMED.row_bytes
    assert len(slices[0]) == pytest.approx(Shape().bytes_each, rel=0.01)


def test_the_buckets_are_those_of_the_setting() -> None:
    assert Settings(dicom_storage_connection="UseDevelopmentStorage=true").index_buckets == ASSUMED.buckets


# Money


def test_every_meter_has_a_price_and_costs_by_the_amount() -> None:
    for meter in Meter:
        assert PRICES.of(meter) > 0
        assert costs.cost({meter: 2}, PRICES) == 2 * PRICES.of(meter)


def test_what_is_free_is_taken_off_and_no_more_than_that() -> None:
    assert costs.cost({Meter.SENT: 100}, PRICES, free=True) == 0
    assert costs.cost({Meter.SENT: 101}, PRICES, free=True) == pytest.approx(PRICES.sent)
    assert costs.cost({Meter.BLOB_WRITES: 1}, PRICES, free=True) == costs.cost({Meter.BLOB_WRITES: 1}, PRICES) > 0


def test_a_busy_period_counts_a_second_at_least_and_as_long_as_the_network_takes() -> None:
    tiny = costs.fetched(Shape(slices=1, bytes_each=1), ASSUMED)
    assert tiny[Meter.GB_SECONDS] == ASSUMED.memory_gb * ASSUMED.least_seconds
    # 125 MB at 100 Mbit/s
    slow = costs.fetched(Shape(slices=1, bytes_each=125_000_000), ASSUMED)
    assert slow[Meter.GB_SECONDS] == ASSUMED.memory_gb * 10


def test_months_add_up() -> None:
    shape = Shape(studies=2, views=3, months=4)
    parts = [
        costs.idle(ASSUMED),
        *[costs.stored(shape, ASSUMED, 1)] * 2,
        *[costs.viewed(shape, ASSUMED)] * 6,
        *[costs.kept(shape, ASSUMED)] * 8,
    ]
    month = costs.busy(shape, ASSUMED)
    for meter in Meter:
        assert month[meter] == pytest.approx(sum(each.get(meter, 0) for each in parts)), meter


# The document


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    costs.main(list(arguments))
    return capsys.readouterr().out


@pytest.mark.parametrize(("heading", "shown"), list(costs.tables(PRICES, Shape(), ASSUMED)))
def test_the_document_shows_what_the_calculator_prints(
    heading: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown in section(read(DOCUMENT), heading)
    assert f"{heading}\n\n{shown}\n" in printed(capsys)


def test_the_closing_lines_are_those_of_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    for line in printed(capsys).strip().splitlines()[-3:]:
        assert line in read(DOCUMENT)


def test_in_several_zones_two_instances_wait_for_requests_and_two_for_each_timer() -> None:
    assert 2 * (1 + read("function_app.py").count("@app.timer_trigger(")) == costs.ZONE_INSTANCES


@pytest.mark.parametrize(
    ("kind", "heading"), [(Prices, "Prices"), (Assumptions, "What is assumed"), (Shape, "A study")]
)
def test_every_parameter_is_documented_with_its_default(kind: Any, heading: str) -> None:
    cells_of = [cells for cells in table(section(read(DOCUMENT), heading)) if cells[0].startswith("`--")]
    defaults = {each.name: getattr(kind(), each.name) for each in fields(kind)}
    assert {cells[0].strip("`"): float(cells[1].replace(",", "")) for cells in cells_of} == {
        f"--{name.replace('_', '-')}": default for name, default in defaults.items()
    }


def test_what_the_document_concludes_is_so() -> None:
    shape = Shape()
    singly, together = (costs.stored(shape, ASSUMED, each) for each in (1, shape.slices))
    view, month = costs.viewed(shape, ASSUMED), costs.busy(shape, ASSUMED)

    def dollars(usage: costs.Usage, meter: Meter) -> float:
        return usage.get(meter, 0) * PRICES.of(meter)

    assert max(singly, key=lambda meter: dollars(singly, meter)) is Meter.LOGGED
    assert max(together, key=lambda meter: dollars(together, meter)) is Meter.BLOB_WRITES
    assert dollars(view, Meter.SENT) > costs.cost(view, PRICES) / 2
    assert max(month, key=lambda meter: dollars(month, meter)) is Meter.BLOBS_KEPT
    # Were every row of a transaction billed, tables would still cost less than blobs.
    assert MAX_OPERATIONS * dollars(together, Meter.TABLE_CALLS) < dollars(together, Meter.BLOB_WRITES)


def test_options_change_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    usual = printed(capsys)
    assert "managed" not in usual
    assert printed(capsys, "--blob-writes", "0.1", "--slices", "7") != usual
    shown = printed(capsys, "--managed-month", "100", "--managed-gb", "0.1")
    kept = costs.busy(Shape(), ASSUMED)[Meter.BLOBS_KEPT]
    assert f"${100 + kept / 10:,.2f} in the busy month" in shown
