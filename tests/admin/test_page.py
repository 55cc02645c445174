"""docs/administration.md names every option and everything a table can say."""

import argparse
from enum import StrEnum

import pytest

from admin.cli import parser
from admin.exporting import Exported
from admin.importing import Imported
from shared.services.examining import FAULTS, Verified
from shared.services.rebuild import Rebuilding
from tests.docs.test_docs import read, section, table

PAGE = "docs/administration.md"


def commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = [each for each in parser()._actions if isinstance(each, argparse._SubParsersAction)]
    return dict(found.choices)


def options(command: argparse.ArgumentParser) -> set[str]:
    """Options by their names, arguments by what they stand for."""
    return {
        action.option_strings[-1] if action.option_strings else str(action.metavar) for action in command._actions
    } - {"--help"}


@pytest.mark.parametrize("command", commands())
def test_the_options_are_those_of_the_page(command: str) -> None:
    cells = table(section(read(PAGE), command.capitalize()))
    documented = {name.strip("`") for name, *_ in cells if name.startswith(("`--", "`FOLDER"))}
    assert documented == options(commands()[command])


@pytest.mark.parametrize(
    ("heading", "kinds"), [("Import", Imported), ("Export", Exported), ("Verify", Verified), ("Rebuild", Rebuilding)]
)
def test_the_tables_say_what_is_on_the_page(heading: str, kinds: type[StrEnum]) -> None:
    cells = table(section(read(PAGE), heading))
    documented = [cell.strip("`") for row in cells for cell in row[:2] if cell.strip("`") in set(kinds)]
    assert documented == list(kinds)


def test_the_words_of_the_details_are_on_the_page() -> None:
    words = {row[0].strip("`"): row[1].strip("`") for row in table(section(read(PAGE), "Verify")) if len(row) == 3}
    assert {kind: kind.name.lower().replace("_", "-") for kind in FAULTS} == {
        kind: word for word, what in words.items() for kind in FAULTS if what == kind
    }
