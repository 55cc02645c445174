"""Settings: defaults, what the environment overrides, and one clear sentence for every value that cannot work."""

import dataclasses

import pytest

from shared.config import Settings, settings_from
from shared.errors import SettingError

TABLE = "TableEndpoint=http://localhost:10002/a"
BAD_URLS = ("nonsense", "http://a.example", "https://", "a.example?sig=x", "https://a.example?sig=x", "https://u:p@a.b")
BAD_ORIGINS = (
    *(
        "viewer.example",
        "https://viewer.example/app",
        "https://*.example",
        "https://a https://b",
        "https://a;https://b",
    ),
    *("https://v.example:443", "null", "https://u@v.example"),
)
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
        f"AccountName=account;AccountKey=a2V5;BlobEndpoint=https://account.z1.blob.storage.azure.net;{TABLE}",
        f"AccountName=account;AccountKey=a2V5;BlobEndpoint=https://images.example.com;{TABLE}",
        "UseDevelopmentStorage=true;AccountName=account;AccountKey=a2V5;BlobEndpoint=https://account.blob.core.windows.net",
        "AccountName=devstoreaccount1;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1",
        "usedevelopmentstorage=TRUE",
    ],
)
def test_the_key_of_an_account_in_azure_is_refused_and_not_repeated(connection: str) -> None:
    with pytest.raises(SettingError, match="is for Azurite") as raised:
        settings_from({"DICOM_STORAGE_CONNECTION": connection})
    assert "a2V5" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("INDEX_BUCKETS", "65", "INDEX_BUCKETS must be from 1 to 64"),
        ("INDEX_BUCKETS", "0", "INDEX_BUCKETS must be from 1 to 64"),
        ("INDEX_BUCKETS", "four", "INDEX_BUCKETS must be a whole number"),
        ("INDEX_BUCKETS", "9" * 5000, "INDEX_BUCKETS must be a whole number"),
        *(
            ("DICOM_BLOB_ENDPOINT", value, "DICOM_BLOB_ENDPOINT must be a URL such as https://account.blob")
            for value in BAD_URLS
        ),
        *(
            ("DICOM_TABLE_ENDPOINT", value, "DICOM_TABLE_ENDPOINT must be a URL such as https://account.t")
            for value in BAD_URLS
        ),
        ("DICOM_BLOB_ENDPOINT", "https://a.table.core.windows.net", "DICOM_BLOB_ENDPOINT must be"),
        ("DICOM_TABLE_ENDPOINT", "https://a.blob.core.windows.net", "DICOM_TABLE_ENDPOINT must be"),
        *(
            ("DICOM_TABLE", value, "DICOM_TABLE must be 3 to 63")
            for value in ("my-table", "1abc", "ab", "Tables", "x" * 64)
        ),
        *(
            ("DICOM_CONTAINER", value, "DICOM_CONTAINER must be 3")
            for value in ("My_c", "a--b", "ab", "-abc", "x" * 64)
        ),
        *(("CORS_ORIGINS", value, "CORS_ORIGINS must be *, or origins such as") for value in BAD_ORIGINS),
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


@pytest.mark.parametrize("name", sorted(field.name.upper() for field in dataclasses.fields(Settings)))
def test_no_value_is_repeated_whatever_the_setting(name: str) -> None:
    try:
        settings_from({**CONNECTION, name: "AccountKey=a2V5-secret"})
    except SettingError as error:
        assert "a2V5" not in str(error)


@pytest.mark.parametrize("name", ["DICOM_BLOB_ENDPOINT", "DICOM_TABLE_ENDPOINT"])
@pytest.mark.parametrize("value", ["https://a.z1.{}.storage.azure.net/", "https://127.0.0.1:10000/devstoreaccount1"])
def test_an_endpoint_may_be_any_of_its_kind(name: str, value: str) -> None:
    settings_from({**CONNECTION, name: value.format(name.split("_")[1].lower())})


@pytest.mark.parametrize(
    "origins",
    [
        "*",
        "https://a.example",
        " https://a.example/ , http://localhost:3000,",
        "http://[::1]:8080, capacitor://localhost",
    ],
)
def test_origins_may_be_these(origins: str) -> None:
    assert settings_from({**CONNECTION, "CORS_ORIGINS": origins}).cors_origins == origins.strip()


@pytest.mark.parametrize(
    "connection",
    [
        "UseDevelopmentStorage=true",
        "UseDevelopmentStorage=true;",
        f"AccountName=devstoreaccount1;AccountKey=a2V5;BlobEndpoint=http://azurite.corp.example:1/a;{TABLE}",
        f"AccountName=mine;AccountKey=a2V5;BlobEndpoint=http://azurite:10000/mine;{TABLE}",
        f"AccountName=mine;AccountKey=a2V5;BlobEndpoint=http://10.0.0.7:10000/mine;{TABLE}",
    ],
)
def test_an_azurite_may_be_anywhere_near(connection: str) -> None:
    assert settings_from({"DICOM_STORAGE_CONNECTION": connection}).dicom_storage_connection == connection


def test_settings_cannot_be_changed() -> None:
    settings = settings_from(CONNECTION)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.index_buckets = 5  # type: ignore[misc]


def test_every_number_has_a_range() -> None:
    from shared.config import _RANGES

    numbers = {field.name for field in dataclasses.fields(Settings) if field.type is int}
    assert {name for name, _, _ in _RANGES} == numbers
