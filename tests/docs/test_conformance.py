"""The conformance statement says what the code says."""

import pytest

from shared.dicom.syntaxes import EDITION
from tests.docs.conformance_tables import PAGE, TABLES, tables_in, with_tables


def test_every_table_is_on_the_page() -> None:
    assert set(tables_in(PAGE.read_text(encoding="utf-8"))) == set(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_the_table_is_what_the_code_makes(name: str) -> None:
    assert tables_in(PAGE.read_text(encoding="utf-8"))[name] == TABLES[name]()


def test_writing_the_tables_again_changes_nothing() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert with_tables(text) == text


def test_the_page_names_the_edition_of_the_standard_whose_clauses_it_cites() -> None:
    assert f"edition {EDITION}" in PAGE.read_text(encoding="utf-8")
