"""The results of a Search transaction (PS3.18 §10.6.3): which attributes each of them has.

    returned = defaults of the resource's levels + what includefield names + what the query names + UIDs of the path

The defaults join those of the original service's v1 and v2 with those the standard requires (PS3.18 Table 10.6.3-3 to
10.6.3-5). Deviation: the original returns fewer, and counts and modalities only when asked; no client is known to mind
more, and several need them.

Left out: where attributes come from that index rows do not hold (services/search.py).
"""

from collections.abc import Mapping
from typing import Any

from shared.dicom.attributes import (
    AVAILABLE_TRANSFER_SYNTAX_UID,
    COMPUTED,
    MODALITIES_IN_STUDY,
    NUMBER_OF_SERIES_RELATED_INSTANCES,
    NUMBER_OF_STUDY_RELATED_INSTANCES,
    NUMBER_OF_STUDY_RELATED_SERIES,
    SERIES_INSTANCE_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
)
from shared.dicomweb.query import Query
from shared.model import JsonDataSet, Level, Series, StoredInstance, Study

RETRIEVE_URL = "00081190"
INSTANCE_AVAILABILITY = "00080056"

#: Default return attributes by level.
DEFAULTS: Mapping[Level, frozenset[str]] = {
    Level.STUDY: frozenset(
        "00080005 00080020 00080030 00080050 00080056 00080061 00080090 00080201 00081030 00081190 00100010 00100020 "
        "00100030 00100040 0020000D 00200010 00201206 00201208".split()
    ),
    Level.SERIES: frozenset(
        "00080005 00080056 00080060 00080201 0008103E 00081090 00081190 0020000E 00200011 00201209 00400244 00400245 "
        "00400275".split()
    ),
    Level.INSTANCE: frozenset(
        "00080005 00080016 00080018 00080056 00080201 00081190 00083002 00200013 00280008 00280010 00280011 "
        "00280100".split()
    ),
}

#: UIDs that the path of a resource gives, by the level it is below; results repeat them.
_PATH_UIDS = {
    None: frozenset[str](),
    Level.STUDY: frozenset({STUDY_INSTANCE_UID}),
    Level.SERIES: frozenset({STUDY_INSTANCE_UID, SERIES_INSTANCE_UID}),
}


def wanted_tags(query: Query) -> frozenset[str]:
    """The attributes that results of a query have, as far as there are values. `all` is decided by `result`."""
    defaults = frozenset[str]().union(*(DEFAULTS[level] for level in query.resource.returned_of))
    own_uid = {Level.STUDY: STUDY_INSTANCE_UID, Level.SERIES: SERIES_INSTANCE_UID, Level.INSTANCE: SOP_INSTANCE_UID}
    parents = frozenset(uid for level, uid in own_uid.items() if level <= query.resource.level)
    return defaults | query.include | query.asked | _PATH_UIDS[query.resource.below] | parents


def computed_of(
    study: Study, series: Series | None, instance: StoredInstance | None, retrieve_url: str
) -> dict[str, dict[str, Any]]:
    """The attributes that the index computes for a match, and its UIDs as the index spells them."""
    computed: dict[str, dict[str, Any]] = {
        NUMBER_OF_STUDY_RELATED_SERIES: _element("IS", study.series),
        NUMBER_OF_STUDY_RELATED_INSTANCES: _element("IS", study.instances),
        INSTANCE_AVAILABILITY: _element("CS", "ONLINE"),
        RETRIEVE_URL: _element("UR", retrieve_url),
    }
    if study.modalities:
        computed[MODALITIES_IN_STUDY] = _element("CS", *sorted(study.modalities))
    if series is not None:
        computed[NUMBER_OF_SERIES_RELATED_INSTANCES] = _element("IS", series.instances)
    if instance is not None:
        computed[AVAILABLE_TRANSFER_SYNTAX_UID] = _element("UI", instance.transfer_syntax)
    return computed


def result(query: Query, attributes: JsonDataSet, computed: JsonDataSet) -> dict[str, Mapping[str, Any]]:
    """One result: of the attributes known of a match those that are wanted, in the order of tags.

    With includefield=all every attribute that is known is wanted, but for references to bulk data, which have to be
    named; computed ones still only where the level has them.
    """
    wanted = wanted_tags(query)
    known = {tag: element for tag, element in attributes.items() if tag not in COMPUTED and "cut" not in element}
    chosen = {
        tag: element
        for tag, element in known.items()
        if tag in wanted or (query.include_all and "BulkDataURI" not in element)
    }
    return dict(sorted({**chosen, **{tag: computed[tag] for tag in computed if tag in wanted}}.items()))


def _element(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}
