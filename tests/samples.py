"""`python -m tests.samples FOLDER`: writes the three example files that the README's walk stores."""

import sys
from pathlib import Path

from tests.builders import DRAWN_INSTANCE, drawing


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m tests.samples FOLDER", file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for shape in DRAWN_INSTANCE:
        path = folder / f"{shape}.dcm"
        path.write_bytes(drawing(shape))
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
