"""The app settings that are deployed are the settings there are, and their values are those the code starts with."""

import dataclasses
import json

import pytest

from shared.config import Settings, settings_from
from tests.infra.bicep import INFRA, literal, parsed, templates_of
from tests.infra.policy import app_settings

APP = templates_of()["modules/app.bicep"]
MAIN = templates_of()["main.bicep"]

#: Settings that are not deployed, and why.
LEFT_OUT = {"DICOM_STORAGE_CONNECTION": "holds a key, and the accounts have none that works"}

#: What the Functions host, its timers and the SDKs read, beside the fields of Settings.
PLATFORM = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "AZURE_CLIENT_ID",
    "AZURE_TOKEN_CREDENTIALS",
    "AzureWebJobsDisableHomepage",
    "AzureWebJobsStorage__accountName",
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__tableServiceUri",
    "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT",
    "ORPHAN_SCHEDULE",
    "SWEEP_SCHEDULE",
}


def defaults() -> dict[str, str]:
    return {field.name.upper(): str(field.default) for field in dataclasses.fields(Settings)}


def test_every_setting_is_deployed_and_nothing_else() -> None:
    assert app_settings(APP).keys() == defaults().keys() - LEFT_OUT.keys() | PLATFORM


def test_what_is_written_down_is_the_default() -> None:
    written = {name: literal(value) for name, value in app_settings(APP).items() if literal(value) is not None}
    assert {"AUTH_ROLES_CLAIM", "MAX_INSTANCE_BYTES", "ORPHAN_AGE_SECONDS"} <= written.keys()
    assert {name: value for name, value in written.items() if name in defaults() and value != defaults()[name]} == {}


@pytest.mark.parametrize(
    ("param", "setting"),
    [("authRoles", "AUTH_ROLES"), ("corsOrigins", "CORS_ORIGINS"), ("auditIdentifiers", "AUDIT_IDENTIFIERS")],
)
def test_params_start_with_the_default_of_their_setting(param: str, setting: str) -> None:
    assert literal(MAIN.of("param")[param].value) == defaults()[setting]


def test_container_table_and_buckets_have_their_defaults() -> None:
    storage = templates_of()["modules/data-storage.bicep"].of("param")
    assert literal(storage["container"].value) == defaults()["DICOM_CONTAINER"]
    assert literal(storage["table"].value) == defaults()["DICOM_TABLE"]
    assert MAIN.of("param")["indexBuckets"].value.text.decode() == defaults()["INDEX_BUCKETS"]  # type: ignore[union-attr]


def test_the_service_starts_with_what_is_deployed() -> None:
    deployed = {name: literal(value) or "" for name, value in app_settings(APP).items()}
    started = settings_from(deployed | {"DICOM_BLOB_ENDPOINT": "https://x", "DICOM_TABLE_ENDPOINT": "https://y"})
    assert started.dicom_storage_connection == ""
    assert str(started.max_instance_bytes) == defaults()["MAX_INSTANCE_BYTES"]


def test_the_schedules_are_those_of_the_example() -> None:
    example = json.loads((INFRA.parent / "local.settings.example.json").read_text("utf-8"))["Values"]
    for name in ("SWEEP_SCHEDULE", "ORPHAN_SCHEDULE"):
        assert literal(app_settings(APP)[name]) == example[name]


def test_a_missing_or_misspelt_setting_would_be_seen() -> None:
    source = (INFRA / "modules/app.bicep").read_text("utf-8")
    changed = app_settings(parsed(source.replace("  UPLOAD_WINDOW:", "  UPLOAD_WINDOWS:")))
    assert changed.keys() ^ app_settings(APP).keys() == {"UPLOAD_WINDOW", "UPLOAD_WINDOWS"}
