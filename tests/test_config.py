"""Settings: defaults, what the environment overrides, and one clear sentence for every value that cannot work."""

import dataclasses

import pytest

from shared.config import Settings, settings_from
from shared.errors import SettingError

CONNECTION = {"DICOM_STORAGE_CONNECTION": "UseDevelopmentStorage=true"}


def test_the_environment_overrides_defaults_and_blank_is_not_set() -> None:
    settings = settings_from({**CONNECTION, "INDEX_BUCKETS": "16", "DICOM_TABLE": " other ", "MAX_HEADER_BYTES": " "})
    assert (settings.index_buckets, settings.dicom_table) == (16, "other")
    assert settings.max_header_bytes == 64 * 1024 * 1024


def test_two_endpoints_take_the_place_of_a_connection_string() -> None:
    endpoints = {"DICOM_BLOB_ENDPOINT": "https://a.blob.core.windows.net", "DICOM_TABLE_ENDPOINT": "https://a.table"}
    assert settings_from(endpoints).dicom_storage_connection == ""
    for name in endpoints:
        with pytest.raises(SettingError, match="DICOM_STORAGE_CONNECTION is empty"):
            settings_from({name: endpoints[name]})


@pytest.mark.parametrize(
    "connection",
    [
        "DefaultEndpointsProtocol=https;AccountName=account;AccountKey=a2V5;EndpointSuffix=core.windows.net",
        "AccountName=account;AccountKey=a2V5",
        "AccountName=account;AccountKey=a2V5;BlobEndpoint=https://account.blob.core.chinacloudapi.cn;TableEndpoint=",
    ],
)
def test_the_key_of_an_account_in_azure_is_refused_and_not_repeated(connection: str) -> None:
    with pytest.raises(SettingError, match="is for Azurite") as raised:
        settings_from({"DICOM_STORAGE_CONNECTION": connection})
    assert "a2V5" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("INDEX_BUCKETS", "65", "INDEX_BUCKETS must be from 1 to 64, but is 65"),
        ("INDEX_BUCKETS", "0", "INDEX_BUCKETS must be from 1 to 64, but is 0"),
        ("INDEX_BUCKETS", "four", "INDEX_BUCKETS must be a whole number, but is 'four'"),
        ("GARBAGE_GRACE_SECONDS", "-1", "GARBAGE_GRACE_SECONDS must be from 0"),
        ("MAX_INSTANCE_BYTES", "4GB", "MAX_INSTANCE_BYTES must be a whole number"),
        ("AUTHENTICATION", "off", "AUTHENTICATION must be required or disabled"),
        ("AUDIT_IDENTIFIERS", "none", "AUDIT_IDENTIFIERS must be hashed or plain"),
    ],
)
def test_a_bad_value_is_one_sentence_that_names_the_setting(name: str, value: str, message: str) -> None:
    with pytest.raises(SettingError) as raised:
        settings_from({**CONNECTION, name: value})
    assert str(raised.value).startswith(message)


def test_settings_cannot_be_changed() -> None:
    settings = settings_from(CONNECTION)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.index_buckets = 5  # type: ignore[misc]


def test_every_number_has_a_range() -> None:
    from shared.config import _RANGES

    numbers = {field.name for field in dataclasses.fields(Settings) if field.type is int}
    assert {name for name, _, _ in _RANGES} == numbers
