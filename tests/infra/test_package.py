"""What is deployed is the service, with every package it needs, and nothing else; azd and Azure build nothing."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from infra import package
from tests.infra.bicep import INFRA, at, templates_of, text_of

ROOT = INFRA.parent
SERVICE = {"function_app.py", "host.json", "requirements.txt", "shared"}
#: Lists the functions of the app in this folder with the packages there, and no others.
LIST = """
import sys
sys.path[:] = ["", ".python_packages/lib/site-packages", *(each for each in sys.path if "site-packages" not in each)]
import json, function_app, imagecodecs
names = [each.get_function_name() for each in function_app.app.get_functions()]
print(json.dumps([imagecodecs.__file__, names]))
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the repository, and some that somebody has left among them."""
    folder = tmp_path_factory.mktemp("clone")
    for name in tracked():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    for name in ("findings.tsv", "patient.dcm", "local.settings.json", "shared/__pycache__/old.cpython-312.pyc"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("private")
    return folder


@pytest.fixture(scope="module")
def made(clone: Path) -> Iterator[Path]:
    """The folder that is deployed, made in the clone."""
    subprocess.run([sys.executable, "infra/package.py", "made.zip"], cwd=clone, check=True, capture_output=True)
    yield clone / ".package"
    shutil.rmtree(clone / ".package")


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_only_the_service_and_its_packages_are_deployed(made: Path) -> None:
    own = {name for name in files_below(made) if not name.startswith(".python_packages/") and not name.endswith(".pyc")}
    assert own == {name for name in tracked() if name.partition("/")[0] in SERVICE}
    assert "old.cpython-312.pyc" not in {path.name for path in made.rglob("*.pyc")}


def test_what_is_deployed_has_all_it_needs_and_need_not_be_compiled(made: Path) -> None:
    before = files_below(made)
    ended = subprocess.run(
        [sys.executable, "-S", "-c", LIST],
        cwd=made,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    imagecodecs, functions = json.loads(ended.stdout.splitlines()[-1])
    assert imagecodecs.startswith(str(made))
    assert {"store_instances", "search_studies", "sweep"} <= set(functions)
    assert files_below(made) == before


def test_the_zip_holds_the_same(made: Path) -> None:
    with zipfile.ZipFile(made.parent / "made.zip") as archive:
        assert {each for each in archive.namelist() if not each.endswith("/")} == files_below(made)


def test_packages_are_those_of_the_runtime_in_azure() -> None:
    runtime = at(
        templates_of()["modules/app.bicep"].of("resource")["app"].value, "properties.functionAppConfig.runtime"
    )
    assert text_of(runtime).split() == ["{", "name:", "'python'", "version:", f"'{package.PYTHON}'", "}"]


def test_azd_and_a_pipeline_deploy_that_folder() -> None:
    azure = yaml.safe_load((ROOT / "azure.yaml").read_text("utf-8"))
    service = azure["services"]["api"]
    assert (service["dist"], service["remoteBuild"]) == (package.PACKAGE.name, False)
    assert {each["run"].split()[1] for each in service["hooks"]["prepackage"].values()} == {"infra/package.py"}
    workflow = yaml.safe_load((ROOT / ".github/workflows/azure-dev.yml").read_text("utf-8"))
    steps = workflow["jobs"]["deploy"]["steps"]
    assert [step["with"]["python-version"] for step in steps if "setup-python" in step.get("uses", "")] == ["3.13"]


def test_what_git_ignores_core_tools_ignore_and_of_the_rest_they_publish_only_the_service() -> None:
    ignored = [each for each in (ROOT / ".funcignore").read_text("utf-8").splitlines() if not each.startswith("#")]
    # Below .python_packages there are folders of the same names.
    assert all(each.startswith("/") for each in ignored)
    top = {name.partition("/")[0] for name in tracked()}
    assert {each for each in top if not any(fnmatch(each, one.strip("/")) for one in ignored)} == SERVICE
    by_git = [
        each.strip("/") for each in (ROOT / ".gitignore").read_text("utf-8").splitlines() if each[:1] not in ("", "#")
    ]
    known = {each.strip("/") for each in ignored}
    wider = {".env": ".env*", "__azurite_db_*.json": "__azurite*", "*.py[cod]": "__pycache__"}
    assert [each for each in by_git if wider.get(each, each) not in known | {".python_packages"}] == []
