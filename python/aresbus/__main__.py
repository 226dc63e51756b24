"""``python -m aresbus``: the command line without its script. Owns nothing; see ``aresbus.cli``."""

import sys

from aresbus.cli import main

if __name__ == "__main__":
    sys.exit(main())
