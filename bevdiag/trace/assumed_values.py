"""Values that a trace on meta tensors is asked for, and where they come from.

In order: what the operations themselves show (a mask of ones, a comparison that no value changes),
a rehearsal of the step on the CPU (see `bevdiag/trace/rehearsal.py`), an assumption. Counts become
assumptions with a low, an expected and a high end; a rehearsed count holds for the first step, and
keeps its range for the later ones, whose weights nobody knows. A branch that nobody can compute is
traced both ways. Whatever else would be a guess leaves the step without an upper end.
"""

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from bevdiag.scenes.scenario import Scenario as Scenario
from bevdiag.trace.known_facts import GivenInputs
from bevdiag.trace.lazy_number import LazyNumber
from bevdiag.trace.operands import StorageNotes, written_by
from bevdiag.trace.pins import Assumption
from bevdiag.trace.places import user_place
from bevdiag.trace.rehearsal import Effort, Prompter, Rehearsal
from bevdiag.trace.unknown_values import KnownValues, Question

EXPECTED_SHARE = 0.5
"""No knowledge at all: half of the rows pass a test on features; the range is none to all."""
_UNKNOWN_SHARE = (
    EXPECTED_SHARE,
    f"a test on features decides; {EXPECTED_SHARE:.0%} of the rows are taken to",
)
_REHEARSED = (
    "computed in a rehearsal on the CPU, with the model's initial weights (seed 0), for the first "
    "step; later steps may have any number"
)
_OF_INPUTS = "computed on the CPU from the inputs alone, so for every step with these inputs"
_REHEARSED_BRANCH = (
    "a branch on a value that was computed in a rehearsal on the CPU, with the model's initial "
    "weights (seed 0); later steps are taken to go the same way (1: the condition holds)"
)
_REHEARSED_NUMBER = (
    "the whole part of a number that was computed in a rehearsal on the CPU, with the model's "
    "initial weights (seed 0); later steps are taken to have the same"
)
_LONGEST_LOOP = 64
"""A branch that is taken as often in one pass is a loop; it then ends."""


class RehearsedValues(KnownValues):
    """The values of a rehearsal: everything is known, and passed on to whoever waits for it."""

    def __init__(self, prompter: Prompter | None = None) -> None:
        super().__init__()
        self._prompter = prompter

    def seen(self, question: Question, value: torch.Tensor) -> None:
        """Pass on the answer that the run has to a question."""
        if self._prompter is not None:
            self._prompter.seen(question, value)

    def counted(self, kind: str, count: int) -> None:
        """Pass on a count that an operator has found out and a trace has to ask for."""
        self.seen(self.question(kind), torch.tensor(count))


@dataclass(slots=True)
class _Filled:
    """The values of a mask, None until they are asked for; its negation refers to them too."""

    values: torch.Tensor | None = None


class AssumedValues(KnownValues):
    """Supplies values for one trace.

    Args:
        scenario: which end of each range to take.
        pins: counts by site, from the user.
        rehearsal: where computed answers come from; None where nothing is rehearsed.
        branches: how the branches that nobody can compute are decided, by site; True where a site
            is not in it.

    Attributes:
        given: knows what is made of the inputs alone.
        scenario: the end that is taken.
        step: says which training step is running.
        effort: says what the trace has computed so far.
        assumptions: what was assumed so far, by site.
        branches: how every such branch was decided.
        open: what was guessed and has no bounds, in sentences.
    """

    def __init__(
        self,
        scenario: Scenario,
        pins: Mapping[str, int],
        rehearsal: Rehearsal | None = None,
        branches: Mapping[str, bool] | None = None,
    ) -> None:
        super().__init__()
        self.step: Callable[[], int] = int
        self.effort: Callable[[], Effort] = Effort
        self.scenario = scenario
        self._pins = pins
        self._rehearsal = rehearsal
        self.given = GivenInputs()
        self._random = torch.Generator().manual_seed(0)
        self._masks: StorageNotes[tuple[_Filled, bool]] = StorageNotes()
        self._shares: dict[tuple[int, ...], tuple[float, str]] = {}
        self._rounds: dict[str, int] = {}
        self.branches: dict[str, bool] = dict(branches or {})
        self.branches_met: dict[str, bool] = {}
        self.assumptions: dict[str, Assumption] = {}
        self.open: list[str] = []

    def begin_pass(self) -> None:
        super().begin_pass()
        self._rounds.clear()

    def note(self, func: Any, args: tuple[Any, ...], outputs: Any) -> None:
        super().note(func, args, outputs)
        self.given.note(func, args, outputs)
        for written in written_by(func, args, outputs):
            self._masks.drop(written)

    def overwritten(self, tensors: Iterable[Any]) -> None:
        found = [tensor for tensor in tensors if isinstance(tensor, torch.Tensor)]
        for tensor in found:
            self._intervals.overwritten(tensor)
            self._masks.drop(tensor)
        self.given.overwritten(found)

    # -- counts ------------------------------------------------------------------------------------

    def count(
        self,
        total: int,
        *,
        expected: int,
        why: str,
        kind: str = "",
        question: Question | None = None,
        lowest: int = 1,
    ) -> int:
        """How many of `total` rows go on at the place that asks; `lowest` at least, if any do."""
        question = question or self.question(kind)
        site = question.place + (f":{kind}" if kind else "")
        low, high = min(lowest, total), total
        known = self._rehearsed_number(question) if site not in self._pins else None
        if known is not None:
            expected, why = min(int(known), total), _REHEARSED
        elif self._rehearsal is not None and site not in self._pins:
            why = f"{why} (not computed: {self.unrehearsed})"
        is_known = known is not None and self.step() <= 1
        if site in self._pins:
            low = expected = high = min(self._pins[site], total)
            why = "pinned by --assume"
        return self._assume(site, low, expected, high, why, expected if is_known else None)

    def _end(self, low: int, expected: int, high: int) -> int:
        ends = {Scenario.LOW: low, Scenario.EXPECTED: expected, Scenario.HIGH: high}
        return ends[self.scenario]

    def _assume(
        self, site: str, low: int, expected: int, high: int, why: str, used: int | None = None
    ) -> int:
        """Note a count, and return the one to go on with: `used`, or the scenario's end."""
        used = self._end(low, expected, high) if used is None else used
        seen = self.assumptions.get(site)
        if seen is None or seen.high < high:
            self.assumptions[site] = Assumption(
                site=site, low=low, expected=expected, high=high, used=used, why=why
            )
        return used

    def mask(self, mask: torch.Tensor, question: Question) -> torch.Tensor:
        low, high = self._intervals.of(mask)
        if low == high:
            return torch.full(mask.shape, bool(low))
        filled, is_negated = self._masks.of(mask) or (_Filled(), False)
        values = filled.values
        if values is None or values.numel() != mask.numel():
            if values is not None:  # of the whole that this is a part of, or of another part
                filled, is_negated = _Filled(), False
            values = self._asked_mask(mask, question)
            filled.values = ~values if is_negated else values
            self._masks.keep(mask, (filled, is_negated))
            return values
        return (~values if is_negated else values).view(mask.shape)

    def _asked_mask(self, mask: torch.Tensor, question: Question) -> torch.Tensor:
        total = mask.numel()
        is_pinned = question.place in self._pins
        answer = None if is_pinned else self._rehearsed(question, tuple(mask.shape))
        if answer is not None:
            return self._rehearsed_mask(mask, answer.bool(), question)
        share, why = self._shares.get(tuple(mask.shape[1:]), _UNKNOWN_SHARE)
        count = self.count(
            total, expected=round(total * share), why=f"{why} pass", question=question
        )
        return self._filled(total, count).view(mask.shape)

    def _rehearsed_mask(
        self, mask: torch.Tensor, answer: torch.Tensor, question: Question
    ) -> torch.Tensor:
        """Return the answer in the first step, and wherever the expected count is asked for."""
        total, found = mask.numel(), int(answer.count_nonzero())
        low = min(1, total)
        used = self._end(low, found, total)
        if self.given.holds(mask):
            self._assume(question.place, found, found, found, _OF_INPUTS)
            return answer
        self._assume(question.place, min(low, found), found, total, _REHEARSED, used)
        if self.scenario is Scenario.EXPECTED or self.step() <= 1:
            return answer
        return self._filled(total, used).view(mask.shape)

    def _filled(self, total: int, count: int) -> torch.Tensor:
        filled = torch.zeros(total, dtype=torch.bool)
        filled[torch.randperm(total, generator=self._random)[:count]] = True
        return filled

    def expect_share(self, shape: tuple[int, ...], share: float, why: str) -> None:
        """Of masks [any, *shape], the share of ones that is to be expected, and its basis."""
        self._shares[shape] = (share, why)

    def negated(self, mask: torch.Tensor, result: torch.Tensor) -> None:
        filled, is_negated = self._masks.of(mask) or (_Filled(), False)
        self._masks.keep(mask, (filled, is_negated))
        self._masks.keep(result, (filled, not is_negated))

    def distinct(self, count: int, question: Question, source: torch.Tensor | None = None) -> int:
        whole = None if source is None else self._whole_numbers(source)
        count = min(count, len(whole)) if whole is not None else count
        return self.count(
            count,
            expected=round(count * EXPECTED_SHARE),
            why=f"distinct values among features; {EXPECTED_SHARE:.0%} are taken to be distinct",
            question=question,
        )

    def every(self, source: torch.Tensor, count: int) -> torch.Tensor | None:
        """All whole numbers of the source's interval, where there are as many of them."""
        whole = self._whole_numbers(source)
        if whole is None or count != len(whole):
            return None
        return torch.tensor(whole, dtype=source.dtype)

    def _whole_numbers(self, source: torch.Tensor) -> range | None:
        low, high = self._intervals.of(source)
        if source.is_floating_point() or high - low == float("inf"):
            return None
        return range(int(low), int(high) + 1)

    # -- indices -----------------------------------------------------------------------------------

    def order(
        self, shape: tuple[int, ...], dim: int, length: int, question: Question
    ) -> torch.Tensor:
        wanted = [*shape]
        wanted[dim] = length
        answer = self._rehearsed(question, tuple(wanted))
        if answer is not None:
            return answer
        picked = torch.randperm(shape[dim], generator=self._random)[:length]
        along = [1] * len(shape)
        along[dim] = length
        return picked.view(along).expand(wanted).contiguous()

    def rows(self, index: torch.Tensor, size: int, question: Question) -> torch.Tensor:
        answer = self._rehearsed(question, tuple(index.shape))
        if answer is not None:
            return answer.clamp(-size, max(size - 1, 0))
        total = index.numel()
        picked = torch.randperm(size, generator=self._random)
        repeats = -(-total // max(size, 1))
        return picked.repeat(repeats)[:total].view(index.shape)

    # -- numbers -----------------------------------------------------------------------------------

    def branch(self, tensor: torch.Tensor, question: Question) -> bool:
        """Decide the truth of a tensor that the code branches on."""
        low, high = self._intervals.of(tensor)
        if low > 0 or high < 0 or low == high:
            return bool(low)
        answer = self._rehearsed_number(question)
        if answer is None:
            return self._decided(question.place)
        return self._computed(question.place, bool(answer))

    def number(self, tensor: torch.Tensor, question: Question) -> "int | float":
        """Return what `.item()` returns: a count, or a number that is asked for once it matters."""
        low, high = self._intervals.of(tensor)
        if low == high:
            return low if tensor.is_floating_point() else int(low)
        if not tensor.is_floating_point():
            return self.size(tensor, question)

        def value() -> float | None:
            answer = self._rehearsed_number(question)
            return None if answer is None else float(answer)

        def decide(outcome: bool | None) -> bool:
            place = user_place(sys._getframe(2), question.place)
            return self._decided(place) if outcome is None else self._computed(place, outcome)

        def take(known: float | None) -> float:
            if known is None:
                self._open(question, "a number")
                return 1.0
            if math.isfinite(known):
                whole = int(known)
                self._assume(f"{question.place}:number", whole, whole, whole, _REHEARSED_NUMBER)
            return known

        return LazyNumber(value, decide, take)

    def size(self, tensor: torch.Tensor, question: Question, lowest: int = 0) -> int:
        """Return an integer that the code reads, as `int()` does: mostly a size."""
        low, high = self._intervals.of(tensor)
        if low == high:
            return int(low)
        if self.given.holds(tensor):
            answer = self._rehearsed_number(question)
            if answer is not None:
                found = int(answer)
                return self._assume(question.place, found, found, found, _OF_INPUTS)
        if high - low < float("inf"):
            return self.count(
                int(high),
                expected=int(low) + round((high - low) * EXPECTED_SHARE),
                why="a number that is read from features; half of its range is taken",
                question=question,
                lowest=max(lowest, int(low)),
            )
        answer = self._rehearsed_number(question)
        if answer is None:
            self._open(question, "a size")
            return 1
        return self._unbounded(question, int(answer))

    def _unbounded(self, question: Question, found: int) -> int:
        """Return a number that no operation bounds: what other weights give is its range later."""
        assert self._rehearsal is not None
        others = [
            int(answer.numpy().item())
            for answer in self._rehearsal.others(question, self.effort())
            if answer.numel() == 1
        ]
        if not others:
            self.leave_open(
                f"{question.place}: a size that depends on values; it was computed for the first "
                "step alone, and nothing bounds that of later ones"
            )
        low, high = min([found, *others]), max([found, *others])
        used = found if self.step() <= 1 else None
        seeds = f"; other seeds give {', '.join(map(str, others))}" if others else ""
        why = f"{_REHEARSED}, without a bound{seeds}"
        return self._assume(question.place, low, found, high, why, used)

    def copied(
        self, tensor: torch.Tensor, question: Question, *, is_read: bool = True
    ) -> torch.Tensor | None:
        """Return values of features that are copied to the host; None where nobody knows them."""
        low, high = self._intervals.of(tensor)
        if low == high:
            return torch.full(tensor.shape, low, dtype=tensor.dtype)
        answer = self._rehearsed(question, tuple(tensor.shape))
        if answer is None and is_read:
            self._open(question, "features copied to the host")
        return answer

    def _computed(self, site: str, way: bool) -> bool:
        """Return the way that the rehearsal goes, and which later steps are taken to go."""
        count = int(way)
        self._assume(f"{site}:branch", count, count, count, _REHEARSED_BRANCH)
        return way

    def _decided(self, site: str) -> bool:
        """One of both ways; the child traces the other one too."""
        way = self.branches.get(site, True)
        rounds = self._rounds[site] = self._rounds.get(site, 0) + 1
        if rounds > _LONGEST_LOOP:
            self.leave_open(
                f"{site}: how often a loop runs depends on values, and has no upper bound"
            )
            way = not way
            self._rounds[site] = 0
        self.branches_met.setdefault(site, way)
        return way

    @property
    def unrehearsed(self) -> str:
        """Why nobody computed a value."""
        if self._rehearsal is None:
            return "nothing is rehearsed"
        return self._rehearsal.failure or "the rehearsal did not come to it"

    def _open(self, question: Question, what: str) -> None:
        self.leave_open(
            f"{question.place}: {what} that depends on values, which nobody computed "
            f"({self.unrehearsed})"
        )

    def leave_open(self, sentence: str) -> None:
        """Something was guessed that has no bounds: nobody may say that the step fits."""
        if sentence not in self.open:
            self.open.append(sentence)

    def _rehearsed(self, question: Question, shape: tuple[int, ...]) -> torch.Tensor | None:
        if self._rehearsal is None:
            return None
        answer = self._rehearsal.answer(question, self.effort())
        if answer is None or (tuple(answer.shape) != shape and (shape or answer.numel() != 1)):
            return None
        return answer

    def _rehearsed_number(self, question: Question) -> "int | float | None":
        answer = self._rehearsed(question, ())
        # Not int() of the tensor: where modes are on, that would be a question itself.
        return None if answer is None else answer.numpy().item()
