"""`python -m bevdiag` is `bevdiag`."""

import sys

from bevdiag.cli.main import run

if __name__ == "__main__":
    sys.exit(run())
