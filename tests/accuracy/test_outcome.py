"""Rows by stack and loop."""

from pathlib import Path

from bevdiag.accuracy.outcome import MeasuredOn, Outcome, Validation, by_stack_and_loop
from bevdiag.accuracy.rows import shipped_rows
from bevdiag.errors import ExitCode


def _outcome(name: str, off: float) -> Outcome:
    row = next(row for row, _ in shipped_rows(Path("cfgs")) if row.name == name)
    return Outcome(
        row=row,
        params=row.params,
        allocated_bytes=int(row.peak_allocated_bytes * (1 + off)),
        high_bytes=row.peak_allocated_bytes,
        reserved_bytes=int(row.max_reserved_bytes * (1 + off)),
    )


def test_each_stack_and_loop_has_its_own_figures() -> None:
    outcomes = (
        _outcome("torch2.5:kitti_models.second_b4", 0.02),
        _outcome("torch2.1:kitti_models.second_b4", 0.06),
        _outcome("kitti_models.second_b4_ddp", 0.0),
        _outcome("torch2.5:kitti_models.second_b4_eval", 0.01),
    )
    groups = by_stack_and_loop(Validation(machine=MeasuredOn(), outcomes=outcomes))
    assert list(groups) == [
        "torch 2.5.1, cuDNN 9.1.0",
        "torch 2.1.2, cuDNN 8.9.2",
        "torch 2.11.0, cuDNN 9.19, DDP, 2 GPUs",
        "torch 2.5.1, cuDNN 9.1.0, evaluation",
    ]


def test_a_promise_is_of_a_stack_and_loop() -> None:
    """Nine rows that are met do not make up for a stack whose only one is not."""
    met = [_outcome("torch2.5:kitti_models.second_b4", 0.0)] * 9
    missed = _outcome("torch2.1:kitti_models.second_b4", 0.06)
    validation = Validation(machine=MeasuredOn(), outcomes=(*met, missed))
    assert validation.misses == (
        "torch 2.1.2, cuDNN 8.9.2: median above 0.5%",
        "torch 2.1.2, cuDNN 8.9.2: largest above 3%",
        "torch 2.1.2, cuDNN 8.9.2: reserved within 5% in 0 of 1",
    )
    assert validation.exit_code is ExitCode.FINDINGS
    assert Validation(machine=MeasuredOn(), outcomes=(*met,)).exit_code is ExitCode.FITS
