"""`python -m admin`: see cli.py."""

import sys

from admin.stopping import end_on_ctrl_c

if __name__ == "__main__":
    end_on_ctrl_c()
    from admin.cli import main  # takes a second

    sys.exit(main(sys.argv[1:]))
