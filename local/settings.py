"""What the local host is told: ports, the data folder, and the app settings it hands to the function app.

The files are those of Azure Functions Core Tools, so that `func start` works from the same ones: `local.settings.json`
when there is one, else `local.settings.example.json`. A variable of the real environment wins over both. Leaves out
what Core Tools reads beyond that: CORS, which the service does itself, encrypted settings, certificates and connection
strings of other kinds.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: The account and key that every copy of Azurite knows; published by Microsoft, no secret.
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

#: The abbreviation of a connection string that always means the ports 10000 to 10002.
DEVELOPMENT_STORAGE = "UseDevelopmentStorage=true"

DEFAULT_PORT = 7071

#: What requests that are still being answered get when the host is told to end.
GRACE_SECONDS = 5

#: The project's folder.
ROOT = Path(__file__).resolve().parent.parent


class LocalError(Exception):
    """One sentence for the person at the keyboard; it is printed without a traceback."""


@dataclass(frozen=True, slots=True)
class StoragePorts:
    """The ports of Azurite's three services; 0 lets the system choose."""

    blob: int = 10000
    queue: int = 10001
    table: int = 10002

    def connection_string(self) -> str:
        """The connection string that reaches an Azurite on these ports."""
        endpoints = (("Blob", self.blob), ("Queue", self.queue), ("Table", self.table))
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};" + "".join(
            f"{name}Endpoint=http://127.0.0.1:{port}/{ACCOUNT};" for name, port in endpoints
        )


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """Everything the local host reads from files and the environment."""

    #: App settings for the function app, connection strings expanded.
    values: Mapping[str, str]
    port: int
    data_dir: Path
    storage: StoragePorts


def read_settings(folder: Path, environment: Mapping[str, str]) -> LocalSettings:
    """The settings of the app in `folder`. Raises LocalError when a file or a variable cannot be understood."""
    document = _read_document(folder)
    host = _section(document, "Host")
    storage = StoragePorts(
        blob=_port(environment, "AZURITE_BLOB_PORT", 10000),
        queue=_port(environment, "AZURITE_QUEUE_PORT", 10001),
        table=_port(environment, "AZURITE_TABLE_PORT", 10002),
    )
    values = {name: _text(value) for name, value in _section(document, "Values").items()}
    values |= {name: environment[name] for name in values if name in environment}
    return LocalSettings(
        values={name: expand_connection(value, storage) for name, value in values.items()},
        port=_port(environment, "PORT", host.get("LocalHttpPort", DEFAULT_PORT)),
        data_dir=Path(environment.get("DATA_DIR") or ".azurite"),
        storage=storage,
    )


def expand_connection(value: str, ports: StoragePorts) -> str:
    """`value`, or the whole connection string where it is only the abbreviation."""
    return ports.connection_string() if value.strip().rstrip(";") == DEVELOPMENT_STORAGE else value


def _read_document(folder: Path) -> dict[str, Any]:
    for name in ("local.settings.json", "local.settings.example.json"):
        path = folder / name
        try:
            document = json.loads(path.read_text(encoding="utf-8-sig"))
        except FileNotFoundError:
            continue
        except ValueError as error:
            raise LocalError(f"{name} is not JSON: {error}.") from None
        if not isinstance(document, dict):
            raise LocalError(f"{name} must hold a JSON object.")
        return document
    return {}


def _section(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = document.get(name) or {}
    if not isinstance(section, dict):
        raise LocalError(f"{name} in the local settings must be a JSON object.")
    return section


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value)


def _port(environment: Mapping[str, str], variable: str, default: object) -> int:
    text = environment.get(variable, "").strip() or str(default)
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise LocalError(f"{variable} must be a port number from 0 to 65535, but is {text!r}.")
    return int(text)
