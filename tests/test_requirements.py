"""What the service imports, at its start or later, is deployed: requirements.txt pins it."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def pinned() -> set[str]:
    """The packages of requirements.txt, spelt as the package index compares them."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return {normal(line.split("==")[0]) for line in lines if line and not line.startswith("#")}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported() -> set[str]:
    """The top-level packages that the service's own files import anywhere, within functions as well."""
    found = set()
    for path in [ROOT / "function_app.py", *(ROOT / "shared").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"shared"}


@pytest.mark.parametrize("package", sorted(imported()))
def test_what_is_imported_is_deployed(package: str) -> None:
    # Several distributions may share a namespace, such as azure.
    assert {normal(name) for name in packages_distributions()[package]} & pinned()
