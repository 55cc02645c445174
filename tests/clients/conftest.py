"""The service that the clients of this folder talk to: the real local host on the session's Azurite."""

from collections.abc import Iterator

import pytest

from local.azurite import Azurite
from tests.e2e.service import Api, Place
from tests.local.hosting import RunningHost


@pytest.fixture(scope="module")
def host(azurite: Azurite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    """A host with storage of its own, empty when a module begins."""
    with Place.new(azurite.connection_string).host(tmp_path_factory.mktemp("clients") / "host.log") as started:
        yield started


@pytest.fixture(scope="module")
def root(host: RunningHost) -> str:
    """What a client is given as the URL of the service."""
    return f"{host.url}/v2"


@pytest.fixture
def api(host: RunningHost) -> Iterator[Api]:
    """Our own client, to see what really happened."""
    with Api(host.url) as opened:
        yield opened
