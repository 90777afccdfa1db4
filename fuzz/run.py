"""Coverage-guided fuzzing: `python -m fuzz.run TARGET [libFuzzer's options]`."""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["bevdiag", "yaml", "packaging"]):
    from fuzz.targets import CORPUS, TARGETS


def main() -> None:
    """Fuzzes one target, beginning with its corpus."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"give one of {', '.join(TARGETS)}, then libFuzzer's options")
    target = sys.argv.pop(1)
    # New inputs go to the first folder: the corpus keeps what was chosen by hand.
    found = Path(f"fuzz-{target}")
    found.mkdir(exist_ok=True)
    atheris.Setup([*sys.argv, str(found), str(CORPUS / target)], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
