"""Which module an allocation belongs to, in the forward pass and in the backward pass.

The forward pass is followed by module hooks. The backward pass has no hooks worth the name, but
autograd numbers its nodes in the order in which the forward pass made them (`_sequence_nr`): the
numbers that were current while a module ran therefore lead back to that module.
"""

from bisect import bisect_right
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from bevdiag.children import announce

# AccumulateGrad nodes all carry this number: they are made on first use, not by an operation.
_NO_SEQUENCE_NR = 2**64 - 1
_BELOW_FUNCTION: Any = torch.autograd.function._SingleLevelFunction


def _next_number() -> int:
    """Return the number that the next autograd node of this thread gets."""
    number: int = torch.autograd._get_sequence_nr()  # type: ignore[attr-defined]
    return number


class Attribution:
    """Follows one model; use as a context manager around everything that is traced.

    Args:
        model: its module names become the paths; the model itself is "".
        on_leave: called as (path, module, inputs, output) when a module's forward returns.
    """

    def __init__(
        self, model: nn.Module, on_leave: Callable[[str, nn.Module, Any, Any], None] | None = None
    ) -> None:
        self._names = {id(module): name for name, module in model.named_modules()}
        self._owner_of_parameter = {
            id(parameter): name.rpartition(".")[0] for name, parameter in model.named_parameters()
        }
        self._stack: list[str] = [""]
        self._boundaries: list[int] = []
        self._paths: list[str] = []
        self._idle: list[int] = []
        """Of the numbers from each boundary on, how many no gradient's node took."""
        self._on_leave = on_leave
        self._hooks: list[Any] = []
        # Not Function.apply, which code takes from its classes when it is imported.
        applied = classmethod(self._applied)
        self._patch = mock.patch.object(_BELOW_FUNCTION, "apply", applied, create=True)

    def __enter__(self) -> "Attribution":
        register = nn.modules.module
        self._hooks = [
            register.register_module_forward_pre_hook(self._enter_module),
            register.register_module_forward_hook(self._leave_module, always_call=True),
        ]
        self._patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._patch.stop()

    @property
    def forward_path(self) -> str:
        """The innermost module whose forward is running."""
        return self._stack[-1]

    def begin_step(self) -> None:
        """Forget the previous step's graph: its numbers will not come back."""
        self._boundaries = [_next_number()]
        self._paths = [""]
        self._idle = [0]

    def current_path(self) -> str:
        """Return the module to charge right now, whichever pass is running."""
        node = torch._C._current_autograd_node()
        # A module's forward runs inside the backward pass too, where a checkpoint recomputes it.
        if node is None or len(self._stack) > 1:
            return self._stack[-1]
        return self.module_of(node)

    def module_of(self, node: Any) -> str:
        """Return the module whose forward made this autograd node of the current step."""
        sequence_nr = node._sequence_nr()
        if sequence_nr == _NO_SEQUENCE_NR:
            variable = getattr(node, "variable", None)
            return self._owner_of_parameter.get(id(variable), "")
        position = bisect_right(self._boundaries, sequence_nr) - 1
        return self._paths[position] if position >= 0 else ""

    def modules_with_nodes(self) -> frozenset[str]:
        """Return the modules whose own code, children aside, has made nodes in this step."""
        now = _next_number()
        ends = (*self._boundaries[1:], now)
        return frozenset(
            path
            for path, start, end, idle in zip(
                self._paths, self._boundaries, ends, self._idle, strict=True
            )
            if end - start > idle
        )

    def _applied(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """`Function.apply`, which takes a number even where no gradient will ever pass."""
        plain: Any = super(_BELOW_FUNCTION, function)
        if not self._idle:
            return plain.apply(*args, **kwargs)
        before, here = _next_number(), len(self._idle) - 1
        idle = self._idle[here]
        made = plain.apply(*args, **kwargs)
        results = (value for value in tree_leaves(made) if isinstance(value, torch.Tensor))
        if not any(tensor.requires_grad for tensor in results):
            # What was applied inside is part of it.
            self._idle[here] = idle + _next_number() - before
        return made

    def _note_boundary(self) -> None:
        number = _next_number()
        if self._boundaries and self._boundaries[-1] == number:
            self._paths[-1] = self._stack[-1]
            return
        self._boundaries.append(number)
        self._paths.append(self._stack[-1])
        self._idle.append(0)

    def _enter_module(self, module: nn.Module, inputs: Any) -> None:
        # A module that is not the model's own (made inside a forward) runs on its caller's account.
        self._stack.append(self._names.get(id(module), self._stack[-1]))
        announce(f"in {self._stack[-1] or 'the model itself'}")
        self._note_boundary()

    def _leave_module(self, module: nn.Module, inputs: Any, output: Any) -> None:
        path = self._stack.pop()
        # The model's own code, of its losses say, is kept apart from the module before it.
        announce(f"in {self._stack[-1]}" if self._stack[-1] else f"after {path or 'the model'}")
        self._note_boundary()
        if self._on_leave is not None and id(module) in self._names:
            self._on_leave(path, module, inputs, output)
