"""The key layout: golden keys, and the order that ranges rely on. A failure here means existing indexes break."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.model import InstanceKey
from shared.storage import keys

KEY = InstanceKey("1.2", "1.2.3", "1.2.3.4")
NOW = 1_700_000_000_000_000


def utf16(text: str) -> bytes:
    """Text as the table service compares it."""
    return text.encode("utf-16-be", "surrogatepass")


@pytest.mark.parametrize(
    ("made", "golden"),
    [
        (keys.partition_key("Microsoft.Default", 3), "Microsoft.Default!03"),
        (keys.partition_key("p", 63), "p!3f"),
        (keys.study_row("1.2"), "s!1.2"),
        (keys.series_row("1.2", "1.2.3"), "e!1.2!1.2.3"),
        (keys.instance_row(KEY), "i!1.2!1.2.3!1.2.3.4"),
        (keys.newest_first(NOW), "9f5dbe7e1bfff"),
        (keys.newest_first(NOW, NOW + 1), "9f5dbe7e1bfff9f5dbe7e1bffe"),
        (keys.newest_date_first("20200922"), "79799077"),
        (keys.list_row("9f5dbe7e1bfff", "1.2"), "x!studies!9f5dbe7e1bfff!1.2"),
        (keys.search_row("00100020", "p1", "9f5dbe7e1bfff", "1.2"), "x!00100020!p1!9f5dbe7e1bfff!1.2"),
        (keys.search_row(keys.text_family("00100020"), "1", "9f5dbe7e1bfff", "1.2"), "x!00100020t!1!9f5dbe7e1bfff!1.2"),
        (keys.backlog_row("9f5dbe7e1bfff", "1.2"), "x!backlog!9f5dbe7e1bfff!1.2"),
        (keys.vocabulary_row("00080060", "ct"), "v!00080060!ct"),
        (keys.sweep_row(NOW, "ab"), "g!60a24181e4000!ab"),
        (keys.version_id(NOW, 255), "60a24181e400000000000000000000ff"),
        (keys.version_prefix(NOW), "60a24"),
        (keys.metadata_blob("ab"), "ab.metadata"),
        (keys.frames_blob("ab"), "ab.frames"),
        (keys.escape("O'Neil^Ana María"), "O-27Neil_5eAna-20María"),
        (keys.escape("a/b\\c#d?e!f\tg~"), "a-2fb_5cc-23d:3fe-21f-09g~7e"),
        (keys.escape("山田\x85"), "山田~85"),
    ],
)
def test_stored_names_stay_as_they_are(made: str, golden: str) -> None:
    assert made == golden


@pytest.mark.parametrize(
    ("study", "buckets", "bucket"),
    [("1.2.840.1", 4, 0), ("1.2.840.2", 4, 0), ("1.2.840.1", 64, 40), ("1.2.840.1", 1, 0)],
)
def test_studies_stay_in_their_buckets(study: str, buckets: int, bucket: int) -> None:
    assert keys.bucket_of(study, buckets) == bucket


@given(st.text(max_size=20), st.text(max_size=20))
def test_escaping_keeps_the_order_of_texts(a: str, b: str) -> None:
    if utf16(a) <= utf16(b):
        assert utf16(keys.escape(a)) <= utf16(keys.escape(b))


@given(st.text(max_size=30), st.text(max_size=30))
def test_escaping_keeps_prefixes_and_nothing_else_becomes_one(a: str, b: str) -> None:
    assert keys.escape(a + b).startswith(keys.escape(a))
    assert keys.escape(b).startswith(keys.escape(a)) == b.startswith(a)


@given(st.text(max_size=200))
def test_escaped_text_holds_nothing_that_a_row_key_may_not(text: str) -> None:
    escaped = keys.escape(text)
    assert not any(
        character in '/\\#?!"' or ord(character) < 0x20 or 0x7F <= ord(character) <= 0x9F for character in escaped
    )
    assert len(escaped) <= 3 * keys.MAX_KEY_TEXT


@given(st.text(min_size=1, max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_the_range_of_a_prefix_holds_all_that_starts_with_it_and_nothing_else(
    prefix: str, rest: str, other: str
) -> None:
    found = keys.search_rows_starting("00100010", keys.escape(prefix))

    def inside(value: str) -> bool:
        row = utf16(keys.search_row("00100010", keys.escape(value), "9f5dbe7e1bfff", "1.2"))
        return utf16(found.low) <= row < utf16(found.high)

    assert inside(prefix + rest)
    assert inside(other) == other.startswith(prefix)


def test_a_range_of_equal_keys_leaves_out_longer_and_shorter_keys() -> None:
    found = keys.search_rows_equal("00100020", "ab")
    rows = {key: keys.search_row("00100020", key, "9f5dbe7e1bfff", "1.2") for key in ("a", "ab", "abc", "ab-20c")}
    assert [key for key, row in rows.items() if found.low <= row < found.high] == ["ab"]


def test_a_study_s_rows_leave_out_studies_whose_uid_begins_alike() -> None:
    found = keys.instance_rows("1.2")
    assert found.low <= keys.instance_row(KEY) < found.high
    for other in ("1.2.3", "1.20", "1.1"):
        row = keys.instance_row(InstanceKey(other, "1.2.3", "1.2.3.4"))
        assert not found.low <= row < found.high


def test_the_latest_time_and_the_latest_date_sort_first() -> None:
    assert keys.newest_first(NOW + 1) < keys.newest_first(NOW)
    assert keys.newest_date_first("20200923") < keys.newest_date_first("20200922")
    found = keys.search_rows_between("00080020", keys.newest_date_first("20200922"), keys.newest_date_first("20200901"))
    row = keys.search_row("00080020", keys.newest_date_first("20200901"), "9f5dbe7e1bfff", "1.2")
    assert found.low <= row < found.high


def test_work_is_due_until_and_with_its_own_microsecond() -> None:
    found = keys.sweep_rows_due(NOW)
    assert found.low <= keys.sweep_row(NOW, "ab") < found.high
    assert not found.low <= keys.sweep_row(NOW + 1, "ab") < found.high


def test_the_longest_key_stays_below_the_limit_of_the_table_service() -> None:
    uid = "1" * 64
    row = keys.search_row("00100010w", keys.escape("^" * 500), keys.newest_first(NOW, NOW), uid, uid, uid)
    assert len(row.encode("utf-16-le")) <= 1024
