"""`bevdiag doctor` as JSON, schema ``bevdiag.doctor/1``."""

from dataclasses import asdict
from typing import Any

from bevdiag.doctor.examine import Checkup
from bevdiag.report.canonical_json import dumps
from bevdiag.report.inspect_json import finding_document

SCHEMA = "bevdiag.doctor/1"


def doctor_json(checkup: Checkup) -> str:
    """The environment, its findings and the open questions; sizes are bytes."""
    environment = checkup.environment
    cuda = environment.torch_cuda()
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "source": environment.source,
        "python": None if environment.python is None else str(environment.python),
        "packages": {
            name: str(package.version or package.specifier)
            for name, package in sorted(environment.packages.by_name.items())
        },
        "torch_cuda": None if cuda is None else f"{cuda[0]}.{cuda[1]}",
        "driver": None if environment.driver is None else asdict(environment.driver),
        "imports": [
            {"stage": probe.stage, "error": probe.error, "signal": probe.signal}
            for probe in environment.probes
        ],
        "exit_code": int(checkup.exit_code),
        "findings": [finding_document(finding) for finding in checkup.findings],
        "unknown": list(checkup.unknown),
    }
    return dumps(document)
