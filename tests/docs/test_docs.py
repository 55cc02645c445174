"""The documents say what the code says: settings, numbers, row kinds and columns, links, commands.

Also takes the README's walk apart (`walk`), so that an end-to-end test can run it against a live host.
"""

import ast
import importlib
import json
import re
import subprocess
from collections import defaultdict
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from shared.config import Settings
from shared.errors import SettingError
from shared.model import InstanceKey, NewInstance, Series, Study
from shared.storage import index, keys, notes, rows, texts
from shared.storage.table import MAX_BINARY_COLUMN
from tests.builders import DRAWN_INSTANCE, DRAWN_SERIES, DRAWN_STUDY

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(each for name in ("docs", "infra", "benchmarks") for each in (ROOT / name).rglob("*.md"))]
)

#: Where the README expects the service.
HERE = "http://localhost:7071"


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next of the same or a higher level."""
    found = re.search(rf"^(#+) {re.escape(heading)}\n", text, re.MULTILINE)
    assert found, f"there is no section {heading!r}"
    rest = text[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def table(text: str) -> list[list[str]]:
    """The cells of every row of every table, without the heads."""
    lines = [line for line in text.splitlines() if line.startswith("|") and line.endswith("|")]
    cut = {number for number, line in enumerate(lines) if re.fullmatch(r"[|\s:-]+", line)}
    kept = [line for number, line in enumerate(lines) if number not in cut and number + 1 not in cut]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in kept]


def shell_blocks(text: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def walk() -> list[str]:
    """The README's walk: its commands in blocks, in order, to be run with bash from the project's folder."""
    return re.findall(r"^<!-- walk -->\n```sh\n(.*?)^```$", read("README.md"), re.MULTILINE | re.DOTALL)


# Links and commands


def _anchors(text: str) -> set[str]:
    """The names that GitHub gives headings, to link to."""
    without_code = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", without_code, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=_id)
def test_every_link_leads_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        if (
            not path.is_relative_to(ROOT)
            or not path.exists()
            or (anchor and anchor not in _anchors(path.read_text(encoding="utf-8")))
        ):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=_id)
def test_files_named_in_the_text_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = re.findall(r"`((?:shared|local|admin|tests|docs|infra|benchmarks)/[\w./-]*)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=_id)
def test_commands_are_valid_shell_and_make_targets_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for block in shell_blocks(text):
        checked = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    commands = [*re.findall(r"`([^`\n]+)`", text), *"\n".join(shell_blocks(text)).splitlines()]
    called = {target for each in commands for target in re.findall(r"^(?:[A-Z_]+=\S+ )*make ([a-z]+)", each)}
    assert called <= targets


def test_decisions_are_all_in_the_index_under_their_titles() -> None:
    listed = {
        name: title for _, name, title in re.findall(r"\[(\d{4})\]\((\S+)\) \| (.*?) \|", read("docs/adr/README.md"))
    }
    found = {}
    for path in (ROOT / "docs" / "adr").glob("[0-9]*.md"):
        number, _, title = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").partition(". ")
        assert path.name.startswith(f"{number}-")
        found[path.name] = title
    assert listed == found


# The README


def test_the_walk_stores_retrieves_searches_and_deletes_the_samples_here() -> None:
    commands = "\n".join(walk())
    requests = re.findall(r'--request (\w+) "([^"]+)"', commands)
    assert len(requests) == commands.count("curl ")
    assert all(url.startswith(f"{HERE}/v2/") for _, url in requests)
    assert {method for method, _ in requests} == {"POST", "PUT", "GET", "DELETE"}
    assert {f"samples/{shape}.dcm" for shape in DRAWN_INSTANCE} <= set(re.findall(r"samples/[\w-]+\.dcm", commands))
    # Every UID in a URL is one of the samples', and what was stored is deleted at the end.
    uids = set(re.findall(r"\d+(?:\.\d+){5,}", " ".join(url for _, url in requests)))
    assert uids <= {DRAWN_STUDY, *DRAWN_SERIES.values(), *DRAWN_INSTANCE.values()}
    assert requests[-1] == ("DELETE", f"{HERE}/v2/studies/{DRAWN_STUDY}")


def test_the_walk_leaves_files_only_where_git_ignores_them() -> None:
    written = re.findall(r'--output "([^"]+)"', "\n".join(walk()))
    assert written
    assert all(name.startswith("samples/") for name in written)
    assert "/samples/" in read(".gitignore").splitlines()


def test_every_route_level_of_the_walk_is_marked_to_be_run() -> None:
    # A curl command outside the marked blocks would be shown to readers and never be tried.
    outside = set(shell_blocks(read("README.md"))) - set(walk())
    assert not any("curl " in block and HERE in block for block in outside)


def test_the_first_screen_shows_how_to_run_and_test() -> None:
    first = "\n".join(read("README.md").splitlines()[:20])
    assert "make run" in first
    assert "make test" in first


@pytest.mark.parametrize("acronym", ["STOW", "WADO", "QIDO"])
def test_the_acronyms_of_the_transactions_appear_once(acronym: str) -> None:
    assert sum(document.read_text(encoding="utf-8").count(acronym) for document in DOCUMENTS) == 1
    assert acronym in read("README.md")


# Settings


def _documented_settings() -> dict[str, tuple[str, str]]:
    """Variable to default and range, as the documentation has them."""
    cells = table(section(read("docs/configuration.md"), "The service"))
    return {name.strip("`"): (default.strip("`"), allowed) for name, default, _, allowed, _ in cells}


def test_every_setting_is_documented_with_its_default() -> None:
    documented = {name: default for name, (default, _) in _documented_settings().items()}
    assert documented == {field.name.upper(): str(field.default) or "(empty)" for field in fields(Settings)}


def test_settings_are_refused_outside_their_documented_range_and_nowhere_else() -> None:
    for name, (default, allowed) in _documented_settings().items():
        if not default.isdigit():
            assert allowed == ""
            continue
        low, high = map(int, allowed.split(" to "))
        for value in (low, high):
            Settings(dicom_storage_connection="UseDevelopmentStorage=true", **{name.lower(): value})
        for value in (low - 1, high + 1):
            with pytest.raises(SettingError, match=name):
                Settings(dicom_storage_connection="UseDevelopmentStorage=true", **{name.lower(): value})


def test_the_example_settings_are_documented() -> None:
    values = json.loads(read("local.settings.example.json"))["Values"]
    rows_of = {cells[0].strip("`"): cells[1].strip("`") for cells in table(read("docs/configuration.md"))}
    assert set(values) <= set(rows_of)
    examples = {name for name in values if name.upper() not in _documented_settings()}
    assert {name: rows_of[name] for name in examples} == {name: values[name] for name in examples}


def test_every_setting_that_the_timers_name_is_documented() -> None:
    named = set(re.findall(r'"%([A-Z_]+)%"', read("function_app.py")))
    cells = table(section(read("docs/configuration.md"), "The timers"))
    assert named == {name.strip("`") for name, *_ in cells}


def test_every_variable_of_make_run_is_documented() -> None:
    source = read("local/settings.py")
    taken = set(re.findall(r'environment(?:\.get\(|, )"([A-Z_]+)"', source))
    assert taken
    for document, heading in (("docs/configuration.md", "`make run`"), ("README.md", "Running it")):
        assert {name.strip("`") for name, *_ in table(section(read(document), heading))} == taken


# Numbers

_UNITS = {"": 1, "KiB": 1024, "MiB": 1024**2}


def _quoted_numbers() -> list[Any]:
    """Every table row of a document whose first cell names a constant or a setting and whose second is a number."""
    found = []
    for document in DOCUMENTS:
        for cells in table(document.read_text(encoding="utf-8")):
            name = re.fullmatch(r"`((?:shared(?:\.\w+)+\.)?[A-Z][A-Z_]+)`", cells[0])
            value = re.fullmatch(r"([\d.]+) ?(|KiB|MiB)", cells[1])
            if name and value:
                found.append(pytest.param(name[1], float(value[1]) * _UNITS[value[2]], id=f"{_id(document)}-{name[1]}"))
    return found


@pytest.mark.parametrize(("name", "quoted"), _quoted_numbers())
def test_quoted_numbers_are_those_of_the_code(name: str, quoted: float) -> None:
    module, _, constant = name.rpartition(".")
    if module:
        assert getattr(importlib.import_module(module), constant) == quoted
    else:
        assert getattr(Settings(dicom_storage_connection="UseDevelopmentStorage=true"), constant.lower()) == quoted


def test_the_layout_version_is_that_of_the_code() -> None:
    text = section(read("docs/storage-format.md"), "Versions of the format")
    assert f"`shared.storage.index.LAYOUT` is the version. It is {index.LAYOUT}." in text


# Rows

_KEY = InstanceKey("1.2", "1.2.3", "1.2.3.4")


def _row_kinds() -> list[tuple[str, str]]:
    """Letter and form of the RowKey of every documented kind."""
    text = section(read("docs/storage-format.md"), "Row kinds").partition("### Columns")[0]
    return [(kind.strip("`"), form.strip("`")) for kind, form, _ in table(text)]


def test_the_row_kinds_are_those_of_the_keys() -> None:
    kinds = _row_kinds()
    assert all(form.startswith(f"{kind}!") for kind, form in kinds)
    in_keys = set()
    for node in ast.walk(ast.parse(read("shared/storage/keys.py"))):
        match node:
            case ast.JoinedStr(values=[ast.Constant(value=str(begin)), *_]) if re.match(r"[a-z]!", begin):
                in_keys.add(begin[0])
            case ast.Tuple(elts=[ast.Constant(value=str(begin)), *_]) if re.fullmatch(r"[a-z]", begin):
                in_keys.add(begin)
    assert {kind for kind, _ in kinds} == in_keys


@pytest.mark.parametrize(
    ("form", "made"),
    [
        ("s!{study}", keys.study_row("1.2")),
        ("e!{study}!{series}", keys.series_row("1.2", "1.2.3")),
        ("i!{study}!{series}!{instance}", keys.instance_row(_KEY)),
        ("x!studies!{time}!{study}", keys.list_row("0" * 13, "1.2")),
        ("x!{tag}!{key}!{time}!{study}", keys.search_row("00100020", "p1", "0" * 13, "1.2")),
        ("x!{tag}t!{key}!{time}!{study}", keys.search_row(keys.text_family("00100010"), "doe", "0" * 13, "1.2")),
        ("x!{tag}!{key}!{time}!{study}!{series}", keys.search_row("00080060", "ct", "0" * 26, "1.2", "1.2.3")),
        (
            "x!{tag}!{key}!{time}!{study}!{series}!{instance}",
            keys.search_row("00080018", "1.2.3.4", "0" * 26, "1.2", "1.2.3", "1.2.3.4"),
        ),
        (
            "x!{tag}t!{key}!{time}!{study}!{series}",
            keys.search_row(keys.text_family("00400009"), "a1", "0" * 26, "1.2", "1.2.3"),
        ),
        ("x!backlog!{time}!{study}", keys.backlog_row("0" * 13, "1.2")),
        ("v!{tag}!{key}", keys.vocabulary_row("00080060", "ct")),
        ("g!{due}!{id}", keys.sweep_row(1, "ab")),
    ],
)
def test_row_keys_have_the_documented_form(form: str, made: str) -> None:
    assert form in [each for _, each in _row_kinds()]
    pieces = {
        "study": r"1\.2", "series": r"1\.2\.3", "instance": r"1\.2\.3\.4", "tag": "[0-9A-F]{8}", "key": "[^!]+",
        "time": "(?:[0-9a-f]{13}|[0-9a-f]{26})", "due": "[0-9a-f]{13}", "id": ".+",
    }  # fmt: skip
    pattern = re.sub(r"\{(\w+)\}", lambda match: pieces[match[1]], form)
    assert re.fullmatch(pattern, made)


def _instance(size: int) -> NewInstance:
    return NewInstance(_KEY, "0" * 32, 1, "1.2", "1.2", b"m" * size, b"f" * size, {}, {}, b"b" * size, "1")


def test_the_columns_are_those_of_the_rows() -> None:
    documented: dict[str, set[str]] = defaultdict(set)
    for kind, column, *_ in table(section(read("docs/storage-format.md"), "Columns")):
        documented[kind].add(column.strip("`"))
    study = Study("1.2", 1, "t", 1, 1, {}, {}, ("1.2.3", "1.2.3.4"))
    series = Series("1.2", "1.2.3", 1, "t", 1, {}, "1.2.3.4")
    assert documented == {
        "study": set(rows.study_columns(study)),
        "series": set(rows.series_columns(series)),
        "instance": {
            *rows.instance_columns(_instance(1), 1),
            *rows.instance_columns(_instance(MAX_BINARY_COLUMN + 1), 1),
        },
        "backlog": set(texts.Backlog(1, frozenset(), frozenset()).columns()),
        "vocabulary": {"value"},
        "garbage": set(notes.note_columns(notes.Garbage(("a",)))),
        "orphan": set(notes.note_columns(notes.Orphan(("a",), "a", _KEY))),
        "unfinished delete": set(notes.note_columns(notes.UnfinishedDelete("1.2", None, 1))),
    }


def test_the_escapes_are_those_of_the_keys() -> None:
    cells = table(section(read("docs/storage-format.md"), "Keys and escapes"))
    leads = [lead.strip("`") for _, lead in cells]
    assert leads == [keys.escape(character)[0] for character in (" ", "=", "^", "~")]
    assert keys.escape("a" * 100) == "a" * keys.MAX_KEY_TEXT
