"""The workbook in infra/workbook, made of the queries of docs/operations.md: `python -m tests.docs.workbook` writes it.

A workbook is the dashboard of Azure Monitor. Only queries that leave nothing to fill in are in it.
"""

import json
import re
import uuid
from dataclasses import dataclass
from typing import Any

from tests.docs.test_docs import ROOT, read, section

FILE = ROOT / "infra" / "workbook" / "dicomweb.json"

_WORKSPACES = "microsoft.operationalinsights/workspaces"
_PARAMETERS = "KqlParameterItem/1.0"
_HOUR = 3_600_000


@dataclass(frozen=True)
class Query:
    """A query of the document."""

    heading: str
    text: str

    @property
    def is_complete(self) -> bool:
        """Whether there is nothing for the reader to fill in."""
        return not re.search(r"<[^>\n]+>", self.text)


def queries() -> list[Query]:
    """Every query of docs/operations.md, with the heading it stands under."""
    found = []
    for piece in re.split(r"^### ", section(read("docs/operations.md"), "Queries"), flags=re.MULTILINE)[1:]:
        heading = piece.splitlines()[0]
        found += [Query(heading, text.strip()) for text in re.findall(r"^```kusto\n(.*?)^```$", piece, re.M | re.S)]
    return found


def workbook() -> dict[str, Any]:
    """The workbook as it is stored: a choice of the time range, and one item for each query."""
    ranges = [{"durationMs": hours * _HOUR} for hours in (1, 4, 24, 72, 168, 720)]
    time_range = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, "dicomweb/TimeRange")),
        "version": _PARAMETERS,
        "name": "TimeRange",
        "label": "Time range",
        "type": 4,
        "isRequired": True,
        "value": {"durationMs": 24 * _HOUR},
        "typeSettings": {"selectableValues": ranges, "allowCustom": True},
    }
    chooser = {
        "type": 9,
        "content": {
            "version": _PARAMETERS,
            "parameters": [time_range],
            "style": "pills",
            "queryType": 0,
            "resourceType": _WORKSPACES,
        },
        "name": "time range",
    }
    complete = [each for each in queries() if each.is_complete]
    return {
        "version": "Notebook/1.0",
        "items": [chooser, *(_item(number, each) for number, each in enumerate(complete, 1))],
        "fallbackResourceIds": [],
        "$schema": "https://github.com/Microsoft/Application-Insights-Workbooks/blob/master/schema/workbook.json",
    }


def _item(number: int, query: Query) -> dict[str, Any]:
    text, _, chart = query.text.partition("\n| render ")
    return {
        "type": 3,
        "content": {
            "version": "KqlItem/1.0",
            "query": text,
            "size": 0,
            "title": query.heading,
            "timeContextFromParameter": "TimeRange",
            "queryType": 0,
            "resourceType": _WORKSPACES,
            "visualization": chart or "table",
        },
        "name": f"query {number}",
    }


def text_of(made: dict[str, Any]) -> str:
    """A workbook as the file has it."""
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text_of(workbook()), encoding="utf-8")
