"""``python -m arqway.service.cli``: the same as ``arqway``."""

import sys

from arqway.service.cli import main

if __name__ == "__main__":
    sys.exit(main())
