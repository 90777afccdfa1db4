from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bevdiag.accuracy import validate as run
from bevdiag.accuracy.outcome import MeasuredOn, MeasuredRow, Outcome, Validation
from bevdiag.accuracy.rows import shipped_rows
from bevdiag.cli import main
from bevdiag.errors import ExitCode, NoVerdictError


def test_the_shipped_models_rows_need_nothing_else() -> None:
    rows = [row for row, _ in shipped_rows(None)]
    own = [row for row in rows if row.name.startswith("focalsst_dsvt.")]
    assert len(own) == 6
    assert all(row.config is not None and row.config.is_file() for row in own)
    assert all(row.config is None for row in rows if row not in own)


def test_rows_of_openpcdet_are_looked_for_where_its_configs_are() -> None:
    rows = [row for row, _ in shipped_rows(Path("cfgs"))]
    assert Path("cfgs/waymo_models/second.yaml") in {row.config for row in rows}


def test_what_has_no_config_says_what_to_name(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = [task for task in shipped_rows(None) if task[0].config is None]
    monkeypatch.setattr(run, "shipped_rows", lambda configs: missing)
    validation = run.validate([], None, MeasuredOn(), lambda what, share: None)
    assert not validation.predicted
    assert all("--source" in outcome.error for outcome in validation.outcomes)
    assert validation.exit_code is ExitCode.NO_VERDICT


def _outcome(row: MeasuredRow, *, off: float, high: float = 2.0, params: int = 0) -> Outcome:
    return Outcome(
        row=row,
        params=row.params + params,
        allocated_bytes=int(row.peak_allocated_bytes * (1 + off)),
        high_bytes=int(row.peak_allocated_bytes * high),
        reserved_bytes=row.max_reserved_bytes,
    )


@pytest.mark.parametrize(
    ("off", "high", "params", "missed"),
    [
        (0.004, 2.0, 0, ""),
        (-0.02, 2.0, 0, "median above 0.5%"),
        (0.04, 2.0, 0, "largest above 3%"),
        (0.0, 0.99, 0, "an upper end is under the truth"),
        (0.0, 2.0, 1, "a parameter count is not exact"),
    ],
)
def test_a_broken_promise_is_named_and_fails(
    off: float, high: float, params: int, missed: str
) -> None:
    row = shipped_rows(None)[0][0]
    outcomes = (_outcome(row, off=off, high=high, params=params),)
    validation = Validation(machine=MeasuredOn(), outcomes=outcomes)
    assert (missed in validation.misses) is bool(missed)
    assert validation.exit_code is (ExitCode.FINDINGS if missed else ExitCode.FITS)


def test_the_command_predicts_the_shipped_rows_where_none_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(run, "shipped_rows", lambda configs: [])
    out = tmp_path / "out.txt"
    assert main.run(["validate", "-o", str(out)]) == ExitCode.NO_VERDICT
    assert "0 of 0 rows" in out.read_text()


def test_older_stacks_and_loops_come_with_their_rows() -> None:
    rows = {row.name: row for row, _ in shipped_rows(Path("cfgs"))}
    assert len(rows) == len(shipped_rows(Path("cfgs")))
    stacks = {(row.torch, row.cudnn) for row in rows.values()}
    assert {("2.5.1", "9.1.0"), ("2.1.2", "8.9.2"), (None, None)} <= stacks
    assert sum(row.loop.gpus > 1 for row in rows.values()) >= 4
    assert sum(row.loop.evaluates for row in rows.values()) >= 4
    assert sum(row.loop.scaler for row in rows.values()) >= 2
    assert sum(row.loop.accumulate > 1 for row in rows.values()) >= 2
    assert rows["kitti_models.second_b4_ddp_gradient_as_bucket_view"].loop.bucket_view
    assert rows["kitti_models.second_b4_ddp_find_unused_parameters"].loop.finds_unused


@pytest.mark.parametrize(("num_far", "is_broken"), [(0, False), (1, False), (2, True)])
def test_nine_of_ten_rows_reserve_as_promised(num_far: int, is_broken: bool) -> None:
    row = shipped_rows(None)[0][0]
    near = _outcome(row, off=0.0)
    far = replace(near, reserved_bytes=2 * row.max_reserved_bytes)
    outcomes = (*[far] * num_far, *[near] * (10 - num_far))
    misses = Validation(machine=MeasuredOn(), outcomes=outcomes).misses
    assert any("reserved" in miss for miss in misses) is is_broken


def _fork_rows() -> list[MeasuredRow]:
    return [row for row, _ in shipped_rows(Path("cfgs")) if row.fork]


def test_rows_of_forks_come_along_with_their_forks_names() -> None:
    rows = _fork_rows()
    assert len(rows) >= 6
    assert all(row.name.startswith(f"{row.fork}:") for row in rows)


@pytest.mark.parametrize("is_named", [False, True])
def test_a_row_is_predicted_with_the_checkout_that_it_was_measured_with(
    is_named: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fork = _fork_rows()[0].fork
    checkout = tmp_path / (fork if is_named else "OpenPCDet")
    monkeypatch.setattr(run, "_trace", lambda *given: given[-1])
    of_fork, of_others = [], []
    for row, clouds in shipped_rows(checkout / "tools" / "cfgs"):
        trace = partial(run.trace_row, row, clouds, tmp_path, MeasuredOn(), checkout)
        if row.fork == fork and not is_named:
            with pytest.raises(NoVerdictError, match=f"{fork}'s code"):
                trace(measured_with=False)
        elif row.fork == fork:
            of_fork.append(trace(measured_with=False))
        elif not row.fork and not row.is_focal and row.config is not None:
            of_others.append(trace(measured_with=False))
    assert set(of_fork) == ({checkout} if is_named else set())
    assert set(of_others) == ({None} if is_named else {checkout})
