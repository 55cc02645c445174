"""The walk of the README does what it says: its commands are taken from the page and run, in order, in one shell."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from local.settings import ROOT
from tests.builders import DRAWN_INSTANCE, DRAWN_STUDY, drawing
from tests.e2e.service import Api, Place, split_parts

BLOCK = re.compile(r"^<!-- walk -->\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)

#: As curl, but an answer that is no success ends the walk, and statuses are told apart from bodies.
PRELUDE = """\
set -euo pipefail
curl() { command curl --disable --silent --show-error --noproxy '*' --fail-with-body \
  --write-out '%{stderr}status %{http_code}\\n' "$@"; }
"""


def blocks() -> list[str]:
    return BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))


def commands_in(block: str) -> list[str]:
    """The commands of a block; a line that ends in a backslash goes on in the next."""
    return [line for line in block.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The project's folder, except that what the walk writes goes elsewhere."""
    made = tmp_path / "project"
    made.mkdir()
    for entry in ROOT.iterdir():
        if entry.name != "samples":
            (made / entry.name).symlink_to(entry)
    return made


def test_the_walk_of_the_readme_works_and_leaves_nothing(place: Place, folder: Path, tmp_path: Path) -> None:
    commands = [command for block in blocks() for command in commands_in(block)]
    assert len(commands) >= 8
    assert len(commands) == sum(command.startswith(("curl ", "cmp ", "make samples")) for command in commands)
    for method, least in (("POST", 3), ("PUT", 3), ("GET", 10), ("DELETE", 3)):
        assert sum(f"--request {method} " in command for command in commands) >= least
    with place.host(tmp_path / "log") as host:
        script = PRELUDE + "\n".join(commands).replace("localhost:7071", f"127.0.0.1:{host.port}")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        done = subprocess.run(
            ["bash"],
            input=script,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        with Api(host.url) as api:
            assert api.search("studies") == []

    statuses = [int(status) for status in re.findall(r"^status (\d+)$", done.stderr, re.MULTILINE)]
    wanted = [204 if "--request DELETE" in command else 200 for command in commands if command.startswith("curl ")]
    assert statuses == wanted
    for uid in (DRAWN_STUDY, *DRAWN_INSTANCE.values()):
        assert uid in done.stdout
    assert '"00081199"' in done.stdout
    assert '"00081198"' not in done.stdout

    samples = folder / "samples"
    triangle, square, circle = (drawing(shape) for shape in ("red-triangle", "green-square", "blue-circle"))
    assert (samples / "retrieved.dcm").read_bytes() == triangle
    assert parts_in(samples / "study.multipart") == {triangle, square, circle}
    assert parts_in(samples / "series.multipart") == {triangle, square}
    (frame,) = parts_in(samples / "frame.multipart")
    assert len(frame) > 2_000_000
    assert frame in triangle


def parts_in(path: Path) -> set[bytes]:
    body = path.read_bytes()
    boundary = body[2 : body.index(b"\r\n")].decode()
    return {data for _, data in split_parts(f"multipart/related; boundary={boundary}", body)}
