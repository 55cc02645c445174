"""The command line as operators use it: what it says, what it returns, and that no identifier is on the screen."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pydicom
import pytest
from azure.data.tables import TableServiceClient

from local.azurite import Azurite
from tests.admin.test_rebuild import ONE, TWO, of

ROOT = Path(__file__).parent.parent.parent


class Admin:
    """Runs commands against one archive."""

    def __init__(self, environment: dict[str, str], name: str) -> None:
        self.environment = {
            "PATH": os.environ["PATH"],
            "DICOM_STORAGE_CONNECTION": environment["DICOM_STORAGE_CONNECTION"],
            "DICOM_CONTAINER": name,
            "DICOM_TABLE": name,
        }

    def begin(self, *arguments: object, **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "admin", *map(str, arguments)],
            cwd=ROOT,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: object, **environment: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of a command."""
        process = self.begin(*arguments, **environment)
        output, errors = process.communicate(timeout=120)
        for uid in (ONE, TWO):
            assert f"{uid}." not in output + errors
        assert "Traceback" not in errors, errors
        return process.returncode, output, errors


@pytest.fixture
def admin(settings_environment: dict[str, str], name: str) -> Admin:
    return Admin(settings_environment, name)


def counts(output: str) -> dict[str, int]:
    """The numbers of a table."""
    return {
        what: int(number.replace(",", "")) for number, what in re.findall(r"^ +([\d,]+)  (.*)$", output, re.MULTILINE)
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten files of two studies, and one that is no DICOM file."""
    made = tmp_path / "in"
    made.mkdir()
    for number in range(10):
        (made / f"{number}.dcm").write_bytes(of((ONE, TWO)[number % 2], 1, number))
    (made / "readme.txt").write_text("nothing of interest")
    return made


def test_an_archive_is_filled_checked_rebuilt_and_emptied(
    admin: Admin, folder: Path, tmp_path: Path, name: str, azurite: Azurite
) -> None:
    assert counts(admin("import", folder, "--journal", tmp_path / "journal")[1]) == {"stored": 10, "not DICOM": 1}
    code, output, errors = admin("import", folder, "--journal", tmp_path / "journal")
    assert (code, counts(output)) == (0, {"done before, says the journal": 11})
    assert "Files: [########################] 11 of 11 (100%)" in errors
    code, output, _ = admin("verify")
    assert (code, counts(output)) == (0, {"studies": 2, "instances": 10, "blobs": 10})

    new = f"{name}b"
    with TableServiceClient.from_connection_string(azurite.connection_string) as tables:
        key = {"PartitionKey": "!index", "RowKey": "pseudonyms", "key": b"k" * 32}
        tables.get_table_client(name).create_entity(key)
    code, output, _ = admin("rebuild", DICOM_TABLE=new)
    assert (code, output.split("\n")[1].split(None, 1)) == (
        0,
        ["10", "instances with a version younger than 20 minutes, left for another run"],
    )
    code, output, _ = admin("rebuild", "--idle", "--old-table", name, DICOM_TABLE=new)
    assert (code, counts(output)) == (0, {"rows added": 10})
    assert admin("verify", DICOM_TABLE=new)[0] == 0
    with TableServiceClient.from_connection_string(azurite.connection_string) as tables:
        assert tables.get_table_client(new).get_entity("!index", "pseudonyms")["key"] == b"k" * 32

    code, output, _ = admin("export", tmp_path / "out", "--study", ONE, DICOM_TABLE=new)
    assert (code, counts(output)) == (0, {"written": 5})
    code, output, _ = admin("export", tmp_path / "out", "--study", ONE, "--series", f"{ONE}.1")
    assert (code, counts(output)) == (0, {"there already": 5})
    code, output, _ = admin("export", tmp_path / "all", "--all")
    assert (code, counts(output)) == (0, {"written": 10})
    exported = {path.read_bytes() for path in (tmp_path / "all").rglob("*.dcm")}
    assert exported == {path.read_bytes() for path in folder.glob("*.dcm")}


def test_what_is_not_as_it_should_be_is_counted_and_told_in_the_details(
    admin: Admin, folder: Path, tmp_path: Path
) -> None:
    (folder / "bad.dcm").write_bytes(of(ONE, 1, 1)[:200])
    details = tmp_path / "details"
    code, output, _ = admin("import", folder, "--details", details)
    assert code == 1
    assert "1  failed with 43264: cannot be read, or a required attribute breaks a rule" in output
    assert sorted(details.read_text().splitlines()) == [
        f"cannot-understand\t{folder}/bad.dcm",
        f"no-dicom\t{folder}/readme.txt",
    ]


def half_an_import(admin: Admin, folder: Path, journal: Path) -> "subprocess.Popen[str]":
    """An import of 1200 files of which some are stored."""
    folder.mkdir()
    for number in range(1200):
        (folder / f"{number}.dcm").write_bytes(of(ONE, 1, number))
    process = admin.begin("import", folder, "--journal", journal)
    # The first group has been entered when the journal has grown beyond an empty one.
    empty = 12_288
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.stat().st_size > empty) and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


def test_an_import_is_stopped_by_ctrl_c_and_gone_on_with(admin: Admin, tmp_path: Path) -> None:
    folder, journal = tmp_path / "in", tmp_path / "journal"
    process = half_an_import(admin, folder, journal)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors, errors
    assert errors.endswith("python -m admin: stopped; the same command goes on with what is left\n")
    before = counts(output)["stored"]
    assert 0 < before < 1200

    code, output, _ = admin("import", folder, "--journal", journal)
    found = counts(output)
    assert (code, found["done before, says the journal"]) == (0, before)
    assert found["stored"] + found.get("stored already (45070)", 0) == 1200 - before
    code, output, _ = admin("verify")
    assert (code, counts(output)) == (0, {"studies": 1, "instances": 1200, "blobs": 1200})


@pytest.mark.parametrize("wait", [0, 0.02, 0.1])
def test_a_second_ctrl_c_ends_an_import_at_once(admin: Admin, tmp_path: Path, wait: float) -> None:
    folder, journal = tmp_path / "in", tmp_path / "journal"
    process = half_an_import(admin, folder, journal)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(wait)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors, errors
    assert "python -m admin: stopped" in errors

    code, output, _ = admin("import", folder, "--journal", journal)
    found = counts(output)
    assert (code, sum(found.values())) == (0, 1200)
    code, output, _ = admin("verify")
    assert (code, counts(output)["instances"]) == (0, 1200)


def test_ctrl_c_before_a_command_has_begun_says_nothing() -> None:
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "admin", "verify"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert any("| shared" in line.replace("  ", "") for line in process.stderr), "what takes long is being imported"
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (output, process.returncode) == ("", -signal.SIGINT)
    assert all(line.startswith("import time:") for line in errors.splitlines()[:-1])


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "sentence"),
    [
        (["verify"], {"DICOM_STORAGE_CONNECTION": ""}, 2, "DICOM_STORAGE_CONNECTION is empty: set it, or set both"),
        (["verify"], {"INDEX_BUCKETS": "many"}, 2, "INDEX_BUCKETS must be a whole number"),
        (["verify"], {}, 2, "DICOM_TABLE: there is no index in the table"),
        (["export", "/nowhere", "--study", "1.2"], {}, 2, "DICOM_TABLE: there is no index in the table"),
        (["rebuild"], {}, 3, "blob storage answered 404 (ContainerNotFound)."),
        (["rebuild", "--old-table", "nosuch"], {}, 2, "--old-table: there is no index in the table nosuch"),
        (["import", "/nowhere/at/all"], {}, 2, "there is no folder /nowhere/at/all"),
        (["import", "--container", "nosuch"], {}, 3, "blob storage answered 404 (ContainerNotFound)."),
        (["import", "--container-url", "http://a/b?sig=x"], {}, 2, "--container-url must be like https://account"),
        (["import", "/tmp", "--prefix", "x"], {}, 2, "--prefix goes with --container"),
        (["import", "/tmp", "--details", "/nowhere/file"], {}, 2, "/nowhere/file: No such file or directory"),
        (["export", "/tmp", "--all", "--series", "1.2"], {}, 2, "--series goes with --study"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    admin: Admin, arguments: list[str], environment: dict[str, str], code: int, sentence: str
) -> None:
    returned, output, errors = admin(*arguments, **environment)
    assert (returned, output) == (code, "")
    *_, last = errors.strip().split("\n")
    assert last.startswith(f"python -m admin: {sentence}")
    # Beside it there is nothing but how far the listing came.
    assert all(re.fullmatch(r"[A-Z][a-z ]+: 0, 0/s", line) for line in errors.strip().split("\n")[:-1])


def test_the_archive_itself_is_not_imported(admin: Admin, name: str) -> None:
    code, _, errors = admin("import", "--container", name)
    assert (code, errors) == (
        2,
        "python -m admin: --container must be another container than DICOM_CONTAINER, which is the archive's own\n",
    )


def test_a_file_that_cannot_be_written_is_told_without_its_name_unless_it_was_named(
    admin: Admin, folder: Path, tmp_path: Path
) -> None:
    assert admin("import", folder)[0] == 0
    out = tmp_path / "out"
    (out / f"{ONE}.1").mkdir(parents=True)
    for path in folder.glob("*.dcm"):
        uid = pydicom.dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID
        (out / f"{ONE}.1" / f"{uid}.dcm").mkdir(exist_ok=True)
    code, _, errors = admin("export", out, "--study", ONE)
    assert code == 3
    assert "python -m admin: a file or folder could not be used: Is a directory" in errors
    code, _, errors = admin("verify", "--details", tmp_path / "nowhere" / "details")
    assert (code, errors) == (2, f"python -m admin: {tmp_path}/nowhere/details: No such file or directory\n")


def test_the_old_table_is_another_one(admin: Admin, name: str) -> None:
    code, _, errors = admin("rebuild", "--old-table", name)
    assert (code, errors) == (2, "python -m admin: --old-table must be another table than DICOM_TABLE\n")


def test_a_study_that_does_not_exist(admin: Admin, folder: Path, tmp_path: Path) -> None:
    admin("import", folder)
    code, output, errors = admin("export", tmp_path / "out", "--study", "1.9")
    assert (code, output, errors) == (1, "", "python -m admin: The specified study cannot be found.\n")
    assert not (tmp_path / "out").exists()


def test_storage_that_does_not_answer_is_one_sentence(admin: Admin) -> None:
    dead = "http://127.0.0.1:9/devstoreaccount1"  # the port of discard, which nobody serves any more
    connection = re.sub(
        r"http://127\.0\.0\.1:\d+/devstoreaccount1", dead, admin.environment["DICOM_STORAGE_CONNECTION"]
    )
    code, output, errors = admin("verify", DICOM_STORAGE_CONNECTION=connection)
    assert (code, output) == (3, "")
    assert errors == "python -m admin: the index could not be reached (ServiceRequestError).\n"


def test_help_of_every_command_says_what_it_does(admin: Admin) -> None:
    code, output, errors = admin("--help")
    assert (code, errors) == (0, "")
    commands = re.findall(r"^    ([a-z]+) +\S", output, re.MULTILINE)
    assert commands == ["rebuild", "verify", "import", "export"]
    code, output, errors = admin("rebuild", "--help")
    assert (code, errors) == (0, "")
    assert "--details FILE" in output and "20 minutes" in output
    assert admin()[0] == 2
    assert admin("import")[0] == 2
