"""The command's entry: ``edgepack`` and ``python -m edgepack``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its status."""
    from edgepack.cli import interrupt, run

    interrupt.catch()
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
