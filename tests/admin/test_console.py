"""What is shown of progress, on terminals and elsewhere."""

import io
from enum import StrEnum
from pathlib import Path

import pytest

from admin.console import DetailsFile, ProgressBar, print_counts, progress_line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Fruit(StrEnum):
    APPLES = "apples"
    PEARS = "pears"
    PLUMS = "plums"


@pytest.mark.parametrize(
    ("done", "total", "seconds", "line"),
    [
        (0, 100, 0.0, "Files: [........................] 0 of 100 (0%), 0/s in 0:00:00"),
        (25, 100, 10.0, "Files: [######..................] 25 of 100 (25%), 2/s, 0:00:30 left"),
        (100, 100, 3661.0, "Files: [########################] 100 of 100 (100%), 0/s in 1:01:01"),
        (120, 100, 60.0, "Files: [########################] 120 of 100 (100%), 2/s in 0:01:00"),
        (1234, None, 10.0, "Files: 1,234, 123/s"),
        (0, 0, 1.0, "Files: 0, 0/s"),
    ],
)
def test_a_line_says_how_far_something_is(done: int, total: int | None, seconds: float, line: str) -> None:
    assert progress_line("Files", done, total, seconds) == line


def test_on_a_terminal_one_line_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("admin.console.DRAWN_EVERY", 0.0)
    terminal = Terminal()
    with ProgressBar(terminal) as bar:
        bar.begin("Files", 2)
        bar.advance()
        bar.advance()
    lines = terminal.getvalue().split("\r\x1b[K")
    assert [line.split(" (")[0] for line in lines[1:]] == [
        "Files: [############............] 1 of 2",
        "Files: [########################] 2 of 2",
        "Files: [########################] 2 of 2",
    ]
    assert terminal.getvalue().endswith("\n")


def test_elsewhere_a_line_is_written_now_and_then_and_one_at_the_end() -> None:
    log = io.StringIO()
    with ProgressBar(log) as bar:
        bar.begin("Blobs")
        for _ in range(1000):
            bar.advance()
        bar.begin("Files", 1)
        bar.advance()
    blobs, files = log.getvalue().splitlines()
    assert blobs.startswith("Blobs: 1,000, ") and files.startswith("Files: [########################] 1 of 1")
    assert "\r" not in log.getvalue()


def test_a_table_has_what_there_was_in_the_order_of_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    print_counts("Fruit:", {Fruit.PLUMS: 12_345, Fruit.APPLES: 1, Fruit.PEARS: 0}, Fruit)
    print_counts("Fruit:", {}, Fruit)
    assert capsys.readouterr().out == "Fruit:\n       1  apples\n  12,345  plums\nFruit:\n  nothing\n"


def test_names_in_the_details_cannot_be_taken_for_something_else(tmp_path: Path) -> None:
    with DetailsFile(tmp_path / "details") as details:
        details.add("apples", "red\tgreen\nyellow", "caf\udce9")
    assert (tmp_path / "details").read_bytes() == b"apples\tred\\tgreen\\nyellow\tcaf\xe9\n"
    assert (tmp_path / "details").stat().st_mode & 0o777 == 0o600
    with DetailsFile(None) as details:
        details.add("apples", "red")
