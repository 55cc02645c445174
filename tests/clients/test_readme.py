"""The README's example of a client does what it says: it is taken from the page and run."""

import re
import subprocess
import sys
from pathlib import Path

from local.settings import ROOT
from tests.builders import DRAWN_INSTANCE, DRAWN_STUDY, drawing
from tests.e2e.service import Api
from tests.local.hosting import RunningHost

BLOCK = re.compile(r"^<!-- client -->\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_example_of_a_client_works_and_leaves_nothing(host: RunningHost, api: Api, tmp_path: Path) -> None:
    (block,) = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert "http://localhost:7071/v2" in block
    (tmp_path / "samples").mkdir()
    for shape in DRAWN_INSTANCE:
        (tmp_path / "samples" / f"{shape}.dcm").write_bytes(drawing(shape))
    script = block.replace("localhost:7071", f"localhost:{host.port}")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "2 instances of Shape^Plain\n"), done.stderr
    assert api.files(f"studies/{DRAWN_STUDY}") == []
