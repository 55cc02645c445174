"""The host that most end-to-end tests share, and storage for those that need a host of their own."""

from collections.abc import Iterator

import pytest

from local.azurite import Azurite
from tests.e2e.identity import KeylessStorage, keyless_storage
from tests.e2e.service import Api, Place
from tests.local.hosting import RunningHost


@pytest.fixture(scope="session")
def session_place(azurite: Azurite) -> Place:
    """The storage behind `host`."""
    return Place.new(azurite.connection_string)


@pytest.fixture(scope="session")
def host(session_place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    """The real local host, as a process of its own; tests use UIDs of their own."""
    with session_place.host(tmp_path_factory.mktemp("e2e") / "host.log") as started:
        yield started


@pytest.fixture(scope="session")
def api(host: RunningHost) -> Iterator[Api]:
    """Version 2 of the shared host."""
    with Api(host.url) as opened:
        yield opened


@pytest.fixture(scope="session")
def keyless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeylessStorage]:
    """Storage that takes tokens and no key, as in Azure."""
    with keyless_storage(tmp_path_factory.mktemp("keyless")) as started:
        yield started


@pytest.fixture(scope="session")
def keyless_host(keyless: KeylessStorage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    """The real local host on such storage, with a managed identity."""
    with keyless.place().host(tmp_path_factory.mktemp("e2e") / "keyless.log") as started:
        yield started
    assert set(keyless.schemes()) == {"Bearer"}, "a service has used a key"


@pytest.fixture
def place(azurite: Azurite) -> Place:
    """Storage for one test."""
    return Place.new(azurite.connection_string)
