"""Check the templates: `python -m tests.infra` prints what is wrong with them, and fails if anything is."""

import sys

from tests.infra.arm_types import check, known_types
from tests.infra.bicep import templates_of
from tests.infra.policy import POLICY
from tests.infra.rules import LANGUAGE


def main() -> int:
    """All rules over all templates; 1 if one is broken."""
    templates = templates_of()
    problems = [each for rule in (*LANGUAGE, *POLICY) for each in rule(templates)] + check(templates, known_types())
    print(*(f"infra/{each}" for each in problems), sep="\n", end="\n" if problems else "")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
