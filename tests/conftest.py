"""Fixtures for every test that needs storage: one Azurite for the session, on free ports, in a temporary folder.

Tests share it, so each chooses names of its own for containers and tables.
"""

import signal
from collections.abc import Iterator

import pytest

from local.azurite import Azurite, running


def pytest_configure() -> None:
    """Let what the tests start be interrupted, whoever runs them.

    `nohup` has SIGHUP ignored, and a shell has SIGINT ignored for every job in its background. A process that is
    started inherits that, but not a handler.
    """
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda _number, _frame: None)


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """A running Azurite: `connection_string`, `blob_endpoint`, `table_endpoint`."""
    with running(tmp_path_factory.mktemp("azurite")) as started:
        yield started


@pytest.fixture
def settings_environment(azurite: Azurite) -> dict[str, str]:
    """The environment variables that point the service, or a local host, at the session's Azurite."""
    return {
        "AzureWebJobsStorage": azurite.connection_string,
        "DICOM_STORAGE_CONNECTION": azurite.connection_string,
        "SWEEP_SCHEDULE": "0 0 0 1 1 *",
        "ORPHAN_SCHEDULE": "0 0 0 1 1 *",
    }
