"""What the local host reads from the settings files and the environment."""

import json
from pathlib import Path

import pytest

from local.settings import LocalError, StoragePorts, expand_connection, read_settings


def write(folder: Path, name: str, document: object) -> None:
    (folder / name).write_text(json.dumps(document))


def test_the_short_connection_string_becomes_one_with_the_chosen_ports(tmp_path: Path) -> None:
    write(tmp_path, "local.settings.json", {"Values": {"A": "UseDevelopmentStorage=true", "B": "other"}})
    ports = {"AZURITE_BLOB_PORT": "20000", "AZURITE_QUEUE_PORT": "20001", "AZURITE_TABLE_PORT": "20002"}
    values = read_settings(tmp_path, ports).values
    assert "BlobEndpoint=http://127.0.0.1:20000/devstoreaccount1;" in values["A"]
    assert "QueueEndpoint=http://127.0.0.1:20001/devstoreaccount1;" in values["A"]
    assert "TableEndpoint=http://127.0.0.1:20002/devstoreaccount1;" in values["A"]
    assert values["B"] == "other"


def test_an_explicit_connection_string_is_left_alone() -> None:
    assert expand_connection("AccountName=a;AccountKey=b", StoragePorts()) == "AccountName=a;AccountKey=b"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    write(tmp_path, "local.settings.json", {"Values": {"A": "file", "B": "file"}, "Host": {"LocalHttpPort": 8000}})
    settings = read_settings(tmp_path, {"A": "environment", "PORT": "9000"})
    assert dict(settings.values) == {"A": "environment", "B": "file"}
    assert settings.port == 9000


def test_the_own_file_wins_over_the_example(tmp_path: Path) -> None:
    write(tmp_path, "local.settings.example.json", {"Host": {"LocalHttpPort": 8000}})
    assert read_settings(tmp_path, {}).port == 8000
    write(tmp_path, "local.settings.json", {"Host": {"LocalHttpPort": 8001}})
    assert read_settings(tmp_path, {}).port == 8001


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    settings = read_settings(tmp_path, {})
    assert (settings.port, settings.data_dir) == (7071, Path(".azurite"))
    assert settings.storage == StoragePorts(10000, 10001, 10002)


@pytest.mark.parametrize("text", ["x", "-1", "65536", "7071.0"])
def test_a_port_that_is_none_is_named_with_its_variable(tmp_path: Path, text: str) -> None:
    with pytest.raises(LocalError, match="PORT must be a port number"):
        read_settings(tmp_path, {"PORT": text})


def test_a_file_that_is_not_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "local.settings.json").write_text("{")
    with pytest.raises(LocalError, match=r"local\.settings\.json is not JSON"):
        read_settings(tmp_path, {})
