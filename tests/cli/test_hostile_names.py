"""Names that a terminal or a CI would obey, through every command, option and format."""

import re
from pathlib import Path

import pytest

from bevdiag.cli.output import CHECK_FORMATS

from ..hostile.limits import ended

SOUND = Path(__file__).resolve().parents[1] / "rules/pointpillar.yaml"

NAMES = (
    "x\x1b[31mY\x1b]0;owned\a\u202egnp.exe\u2066\u200f\x9b31m\x85::warning::owned",
    "x\n::error::owned\r::error::owned ::error file=a::owned##[error]owned",
    "a" * 60 + "-" + "b" * 33 + "::error::owned",
    "www.example.com",
)
COMMANDS = {
    "check": "check {config}",
    "a missing config": "check {config}.none",
    "doctor": "doctor --requirements {config}",
    "explain": "explain --log {config}.none",
    "baseline show": "baseline show {record}",
    "baseline": "preflight {config} --baseline {config}",
    "policy": "check {config} --policy {config}",
    "set": "check {config} --set {name}=1",
    "format": "check {config} --format {name}",
    "rule": "rule {name}",
    "schema": "schema {name}",
    "command": "{name}",
    "gpu": "doctor --gpu {name}",
    "output": "check {config} -o {name}/{name}",
    "inspect": "inspect {config} --device meta",
    "compare": "compare {config} --compression none",
    "points": "inspect {config} --device meta --points {config}",
    "diff": "fix {config} --budget 500GiB --diff",
}


def obeyed(text: str, output_format: str = "text") -> list[str]:
    """What a terminal or GitHub would act upon."""
    hidden = [char for char in text if not char.isprintable() and char not in "\n\u200b"]
    lines = text.split("\n")
    commands = [line for line in lines if line.lstrip().startswith("::")]
    if output_format == "github":
        ours = re.compile(r"::(error|warning|notice) (file=[^:,]*,.*)?title=bevdiag[^:,]*::")
        commands = [line for line in commands if not ours.match(line)]
    return hidden + commands + [line for line in lines if "##[" in line]


def hostile_files(folder: Path, name: str) -> dict[str, str]:
    """A config that has the name and says it, and a record that names it."""
    config = folder / f"{name.replace('/', '')}.yaml"
    quoted = "".join(f"\\u{ord(char):04x}" for char in name)
    said = SOUND.read_text(encoding="utf-8")
    said = said.replace("CLASS_NAMES: [Car, Cyclist]", f'CLASS_NAMES: ["{quoted}", Cyclist]')
    said = said.replace("class_name: Car", f'class_name: "{quoted}"')
    # A wrong number of channels makes an edit, next to a comment of the config's own.
    comment = "".join(char for char in name if char.isprintable() or char == "\u202e")
    said = said.replace("NUM_BEV_FEATURES: 16", f"NUM_BEV_FEATURES: 7 # {comment}\n    # {comment}")
    config.write_text(f'{said}  "{quoted}": 1\n', encoding="utf-8")
    record = folder / "record.json"
    entry = (
        f'"conditions": {{"{quoted}": "{quoted}"}}, "params": 1, "peak_allocated_bytes": 1, '
        '"high_reserved_bytes": 1, "kept_for_backward_bytes": {}'
    )
    record.write_text(
        f'{{"schema": "bevdiag.baseline/1", "configs": {{"{quoted}": {{{entry}}}}}}}',
        encoding="utf-8",
    )
    return {"config": str(config), "record": str(record), "name": name}


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
@pytest.mark.parametrize("command", COMMANDS)
def test_no_name_is_obeyed(command: str, name: str, tmp_path: Path) -> None:
    files = hostile_files(tmp_path, name)
    ending = ended(*(word.format(**files) for word in COMMANDS[command].split()))
    assert ending.code in (0, 1, 2, 3), ending
    assert "internal error" not in ending.err
    assert not obeyed(ending.out)
    assert not obeyed(ending.err)


@pytest.mark.parametrize("output_format", [name for name in CHECK_FORMATS if name != "text"])
def test_no_name_is_obeyed_in_any_format(output_format: str, tmp_path: Path) -> None:
    for name in NAMES:
        config = hostile_files(tmp_path, name)["config"]
        for path in (config, f"{config}.none"):
            ending = ended("check", path, "--format", output_format)
            assert ending.code in (1, 2), ending
            assert not obeyed(ending.out, output_format), name
            assert "www.example" not in ending.out or output_format != "markdown"


def test_a_name_that_begins_a_line_reads_as_it_did_before(tmp_path: Path) -> None:
    """Nothing is done to names that nobody obeys."""
    config = tmp_path / "a::b # [c].yaml"
    config.write_bytes(SOUND.read_bytes())
    assert "a::b # [c].yaml.none" in ended("check", f"{config}.none").out
