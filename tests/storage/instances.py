"""Instances as a store hands them to the index, without files behind them."""

import gzip
import itertools
from typing import Any

from shared.model import InstanceKey, NewInstance
from shared.storage import keys

_numbers = itertools.count(1)


def instance(
    study: str = "1.2.3",
    series: str | None = None,
    sop: str | None = None,
    *,
    name: str = "Doe^Jane",
    patient_id: str = "P1",
    modality: str = "CT",
    date: str = "20200101",
    metadata: bytes | None = None,
    **study_elements: Any,
) -> NewInstance:
    """One instance; what is not said is made up, the version differs each time."""
    number = next(_numbers)
    series = series or f"{study}.1"
    sop = sop or f"{series}.{number}"
    return NewInstance(
        key=InstanceKey(study, series, sop),
        version=keys.version_id(1_700_000_000_000_000 + number, number),
        length=100,
        transfer_syntax="1.2.840.10008.1.2.1",
        sop_class="1.2.840.10008.5.1.4.1.1.2",
        metadata=metadata or gzip.compress(b'{"00080018":{"vr":"UI","Value":["%s"]}}' % sop.encode()),
        frames=None,
        study_attributes={
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": name}]},
            "00100020": {"vr": "LO", "Value": [patient_id]},
            "00080020": {"vr": "DA", "Value": [date]},
            **study_elements,
        },
        series_attributes={
            "00080060": {"vr": "CS", "Value": [modality]},
            "0020000E": {"vr": "UI", "Value": [series]},
        },
    )
