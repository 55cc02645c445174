"""Planning commits, without any storage: which operations, in which transaction, under which conditions."""

from dataclasses import replace

from shared.model import InstanceKey, NewInstance, StoredInstance
from shared.storage import keys
from shared.storage.notes import UnfinishedDelete, note_columns, note_of
from shared.storage.plan import Moment, StudyState, newest_values, plan_delete, plan_store
from shared.storage.rows import attributes_text, study_columns, study_of
from shared.storage.search_rows import series_search_rows, study_search_rows
from shared.storage.table import MAX_TEXT_COLUMN, Row
from tests.storage.instances import instance

NOW = Moment(1_700_000_000_000_000, "tag1", 1_700_003_600_000_000)
EMPTY = StudyState("1.2.3", None, {"1.2.3.1": None}, {})


def stored(new: NewInstance, created: int) -> StoredInstance:
    return StoredInstance(new.key, new.version, new.length, new.transfer_syntax, new.sop_class, created)


def with_etags(state: StudyState, *instances: InstanceKey) -> StudyState:
    names = [keys.study_row("1.2.3"), *(keys.series_row("1.2.3", uid) for uid in state.series)]
    names += [keys.instance_row(key) for key in instances]
    return replace(state, etags={name: f"etag of {name}" for name in names}, backlog=None)


def test_a_first_store_inserts_and_an_update_replaces_under_the_etags_it_was_read_with() -> None:
    first = plan_store(EMPTY, [instance()], {}, NOW)
    assert {each.kind for each in first.operations} == {"insert", "put"}
    state = with_etags(first.after)
    second = plan_store(state, [instance()], {}, replace(NOW, time=NOW.time + 5, tag="tag2"))
    replaced = {each.key: each.etag for each in second.operations if each.kind == "replace"}
    assert replaced == {"s!1.2.3": "etag of s!1.2.3", "e!1.2.3!1.2.3.1": "etag of e!1.2.3!1.2.3.1"}


def test_a_store_that_changes_no_attribute_writes_of_all_search_rows_only_the_list_and_its_own() -> None:
    state = with_etags(plan_store(EMPTY, [instance()], {}, NOW).after)
    later = plan_store(state, [instance(sop="1.2.3.1.99")], {}, replace(NOW, time=NOW.time + 5, tag="tag2"))
    written = [each.key for each in later.operations if each.key[0] == "x"]
    assert [key.split("!")[1] for key in written] == ["00080018", "studies"]


def test_a_changed_attribute_moves_its_search_rows_in_the_same_transaction() -> None:
    state = with_etags(plan_store(EMPTY, [instance(patient_id="A")], {}, NOW).after)
    later = plan_store(state, [instance(patient_id="B")], {}, replace(NOW, tag="tag2"))
    moved = {(each.kind, each.key.split("!")[2]) for each in later.operations if each.key.startswith("x!00100020!")}
    assert moved == {("delete", "a"), ("put", "b")}


def test_a_changed_text_leaves_a_backlog_and_what_changes_no_text_does_not() -> None:
    first = plan_store(EMPTY, [instance(patient_id="A")], {}, NOW)
    backlog = first.after.backlog
    assert backlog is not None and not backlog.drop
    assert {texts.texts for texts in backlog.add} == {("a",), (" doe jane",)}
    assert first.backlog_key == keys.backlog_row(keys.newest_first(NOW.time), "1.2.3")
    assert [each.kind for each in first.operations if each.key == first.backlog_key] == ["insert"]
    state = with_etags(first.after)
    same = plan_store(state, [instance(patient_id="A", modality="MR")], {}, replace(NOW, tag="tag2"))
    assert (same.backlog_key, same.after.backlog) == (None, None)
    other = plan_store(state, [instance(patient_id="B")], {}, replace(NOW, tag="tag2"))
    assert other.after.backlog is not None
    assert [[each.texts for each in part] for part in (other.after.backlog.add, other.after.backlog.drop)] == [
        [("b",)],
        [("a",)],
    ]


def test_a_backlog_that_was_left_is_taken_over_under_its_etag() -> None:
    first = plan_store(EMPTY, [instance(patient_id="A")], {}, NOW)
    assert first.backlog_key is not None
    state = with_etags(first.after)
    etags = {**state.etags, first.backlog_key: "its etag"}
    state = replace(state, etags=etags, backlog=first.after.backlog)
    plan = plan_store(state, [instance(patient_id="B")], {}, replace(NOW, tag="tag2"))
    (operation,) = (each for each in plan.operations if each.key == first.backlog_key)
    assert (operation.kind, operation.etag) == ("replace", "its etag")
    assert plan.after.backlog is not None
    assert {each.texts for each in plan.after.backlog.add} == {("b",), (" doe jane",)}
    assert {each.texts for each in plan.after.backlog.drop} == {("a",)}


def test_every_operation_of_a_plan_is_on_another_row() -> None:
    new = [instance(series=f"1.2.3.{number % 4}") for number in range(20)]
    state = StudyState("1.2.3", None, {f"1.2.3.{number}": None for number in range(4)}, {})
    plan = plan_store(state, new, {}, NOW)
    names = [each.key for each in plan.operations]
    assert len(names) == len(set(names))


def test_what_comes_later_in_a_batch_counts_as_newer() -> None:
    first, second = instance(sop="1.2.3.1.1"), instance(sop="1.2.3.1.2")
    plan = plan_store(EMPTY, [first, second], {}, NOW)
    created = {each.key: (each.columns or {})["created"] for each in plan.operations if each.key[0] == "i"}
    assert created[keys.instance_row(first.key)] < created[keys.instance_row(second.key)]
    assert plan.after.study is not None and plan.after.study.newest == ("1.2.3.1", "1.2.3.1.2")


def test_storing_and_deleting_everything_leaves_the_search_rows_of_nothing() -> None:
    new = [instance(series=f"1.2.3.{number % 3}", modality=f"M{number % 2}") for number in range(9)]
    empty = StudyState("1.2.3", None, {f"1.2.3.{number}": None for number in range(3)}, {})
    plan = plan_store(empty, new, {}, NOW)
    put = {each.key for each in plan.operations if each.key[0] == "x" and each.key != plan.backlog_key}
    state = with_etags(plan.after, *(each.key for each in new))
    gone = plan_delete(state, [stored(each, NOW.time) for each in new], replace(NOW, tag="tag2"))
    assert {each.key for each in gone.operations if each.kind == "delete" and each.key[0] == "x"} == put
    assert gone.after.study is None and set(gone.after.series.values()) == {None}
    assert plan.after.backlog is not None and gone.after.backlog is not None
    assert (gone.after.backlog.add, gone.after.backlog.drop) == (frozenset(), plan.after.backlog.add)
    (note,) = (each for each in gone.operations if each.key[0] == "g")
    assert note.key == keys.sweep_row(NOW.due, "tag2")
    assert set(str((note.columns or {})["blobs"]).split()) == {each.version for each in new}


def test_modalities_are_counted_by_series_and_follow_its_newest_value() -> None:
    state = with_etags(plan_store(EMPTY, [instance(modality="CT")], {}, NOW).after)
    later = plan_store(state, [instance(modality="MR")], {}, replace(NOW, tag="tag2"))
    assert later.after.study is not None and later.after.study.modalities == {"MR": 1}


def test_search_rows_depend_on_nothing_but_the_study_and_its_series() -> None:
    plan = plan_store(EMPTY, [instance()], {}, NOW)
    study, series = plan.after.study, plan.after.series["1.2.3.1"]
    assert study is not None and series is not None
    other = {plan.backlog_key} | {each.key for each in plan.operations if "!00080018!" in each.key}
    put = {each.key for each in plan.operations if each.key[0] == "x"} - other
    assert put == study_search_rows(study).keys() | series_search_rows(study, series).keys()
    assert study_of("1.2.3", study_columns(study)) == study


def test_newest_values_overwrite_but_empty_ones_do_not() -> None:
    old = {"a": {"vr": "LO", "Value": ["1"]}, "b": {"vr": "LO"}, "c": {"vr": "LO", "Value": ["3"]}}
    new = {"a": {"vr": "LO"}, "b": {"vr": "LO", "Value": ["2"]}, "d": {"vr": "LO"}}
    assert newest_values(old, new) == {
        "a": {"vr": "LO", "Value": ["1"]},
        "b": {"vr": "LO", "Value": ["2"]},
        "c": {"vr": "LO", "Value": ["3"]},
        "d": {"vr": "LO"},
    }


def test_attributes_that_do_not_fit_lose_the_values_of_the_longest() -> None:
    attributes = {
        "00081110": {"vr": "SQ", "Value": [{"00081150": {"vr": "UI", "Value": ["1.2"] * 20_000}}]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe"}]},
    }
    text = attributes_text(attributes)
    assert len(text) <= MAX_TEXT_COLUMN
    assert '"00081110":{"vr":"SQ","cut":true}' in text and "Doe" in text


def test_notes_come_back_as_they_were_written() -> None:
    for note in (UnfinishedDelete("1.2", "1.2.3", 5), UnfinishedDelete("1.2", None, 5)):
        assert note_of(Row("g!1!x", "", note_columns(note))) == note
