"""The commands where storage takes no key: as an operator runs them against Azure, signed in as somebody."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.admin.test_commands import ROOT, counts
from tests.admin.test_rebuild import ONE, TWO, of
from tests.e2e.identity import ACCOUNT_HOST, IdentityEndpoint, KeylessPlace, KeylessStorage

#: Runs the commands where the account's name in Azure leads to this machine, as the file of hosts would have it.
_AS_IN_AZURE = f"""
import runpy, socket
asked = socket.getaddrinfo
address = lambda host: "127.0.0.1" if host == {ACCOUNT_HOST!r} else host
socket.getaddrinfo = lambda host, *rest, **named: asked(address(host), *rest, **named)
runpy.run_module("admin", run_name="__main__", alter_sys=True)
"""

TOLD = "python -m admin: there is no token for storage (ClientAuthenticationError). Sign in first, with `az login`.\n"


def admin(place: KeylessPlace, *arguments: object, **settings: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    ended = subprocess.run(
        [sys.executable, "-c", _AS_IN_AZURE, *map(str, arguments)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **place.environment(**settings)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stdout, ended.stderr


@pytest.fixture
def place(keyless: KeylessStorage) -> KeylessPlace:
    return keyless.place()


@pytest.mark.parametrize("by_url", [False, True], ids=["container", "url"])
def test_a_container_is_imported_checked_rebuilt_and_exported(
    place: KeylessPlace, keyless: KeylessStorage, tmp_path: Path, by_url: bool
) -> None:
    files = {f"2024/{number}.dcm": of((ONE, TWO)[number % 2], 1, number) for number in range(6)}
    incoming = f"{place.name}in"
    with keyless.clients() as (blobs, _):
        container = blobs.create_container(incoming)
        for name, file in {**files, "2024/readme.txt": b"nothing of interest", "2023/0.dcm": b""}.items():
            container.upload_blob(name, file)
    port = urlsplit(keyless.azurite.blob_endpoint).port
    url = f"https://{ACCOUNT_HOST}:{port}/{incoming}/2024/"
    source = ("--container-url", url) if by_url else ("--container", incoming, "--prefix", "2024/")
    code, output, errors = admin(place, "import", *source, "--journal", tmp_path / "journal")
    assert (code, counts(output)) == (0, {"stored": 6, "not DICOM": 1}), errors

    again = f"{place.name}again"
    code, output, errors = admin(place, "rebuild", "--idle", DICOM_TABLE=again)
    assert (code, counts(output)) == (0, {"rows added": 6}), errors
    for table in (place.name, again):
        code, output, errors = admin(place, "verify", DICOM_TABLE=table)
        assert code == 0, output + errors
    code, output, errors = admin(place, "export", "--all", tmp_path / "out", DICOM_TABLE=again)
    assert (code, counts(output)) == (0, {"written": 6}), errors
    assert sorted(path.read_bytes() for path in (tmp_path / "out").rglob("*.dcm")) == sorted(files.values())


def test_whoever_is_not_signed_in_is_told_so(keyless: KeylessStorage) -> None:
    code, _, errors = admin(keyless.place(IdentityEndpoint(url="http://127.0.0.1:1/none")), "verify")
    assert (code, errors) == (3, TOLD)
