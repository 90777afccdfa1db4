"""The repository's forward and loss on the CPU with its initial weights: what a rehearsal runs."""

import torch

from bevdiag.source import build, cuda_api
from bevdiag.source.dialects.protocol import Dialect, Supply
from bevdiag.source.state import current
from bevdiag.trace.assumed_values import RehearsedValues
from bevdiag.trace.real_run import prepare, run_for_real
from bevdiag.trace.rehearsal import Prompter


@torch.no_grad()
def rehearse(dialect: Dialect, supply: Supply, seed: int, prompter: Prompter) -> None:
    """Build the model with the weights of a seed, and run its forward and loss."""
    values = RehearsedValues(prompter)
    prepare(seed)
    with cuda_api.initial_weights(), torch.enable_grad():
        built = build.build_model(lambda: dialect.build(supply), values)
    model, recorder = built.model.train(), built.recorder
    loaded = supply.batch(with_values=True)
    current().boxes = loaded.boxes
    run_for_real(
        model,
        loaded.entries.values(),
        recorder,
        values,
        lambda: dialect.loss(model, dialect.BATCH(loaded.entries)),
        built.gpu,
    )
