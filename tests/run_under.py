"""Runs the tests under another Python or PyTorch: `run_under.py PYTHON [pytest's arguments]`.

PYTHON is an interpreter, or a script that starts one, which has bevdiag's dependencies and pytest;
bevdiag itself is this checkout. Without arguments the whole suite runs. The environment's own
PYTHONPATH stays, behind the checkout.
"""

import os
import subprocess
import sys
from pathlib import Path

_VERSIONS = """
import platform, numpy, torch
gpu = "a GPU" if torch.cuda.is_available() else "no GPU"
build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
print(f"Python {platform.python_version()}, torch {torch.__version__} ({build} build, {gpu}), "
      f"NumPy {numpy.__version__}", flush=True)
"""


def main(arguments: list[str]) -> int:
    """The exit code of pytest, or of an interpreter that cannot import torch."""
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    python, *rest = arguments
    root = Path(__file__).resolve().parents[1]
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for command in (["-c", _VERSIONS], ["-m", "pytest", "-q", "-p", "no:cacheprovider", *rest]):
        code = subprocess.run([python, *command], cwd=root, env=environment).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
