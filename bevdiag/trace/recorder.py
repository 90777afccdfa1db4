"""Turns everything that PyTorch allocates into events, while the code that allocates runs.

A dispatch mode sees every operation with its outputs; a weak reference on each new storage tells
when its last owner lets go. Features are meta tensors. Coordinates are real integers in CPU
tensors, but on a GPU they would live there too: they are recorded like the rest, and only what is
made on the host on purpose (no device given, or computed from such tensors alone) is left out.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from bevdiag.children import announce
from bevdiag.memory.events import Category, Phase, current_category
from bevdiag.memory.requests import GemmWorkspace, Request
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.known_facts import KnownColumns
from bevdiag.trace.ledger import Ledger
from bevdiag.trace.operands import (
    StorageNotes,
    all_meta,
    stored_in,
    tensors_in,
    unrecorded,
    written_arguments,
    written_by,
)
from bevdiag.trace.shapes import outputs_of
from bevdiag.trace.unknown_values import KnownValues, Question

_HOST = -1


@cache
def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


Watcher = Callable[[Any, tuple[Any, ...], dict[str, Any], Any], None]


class Recorder(Ledger, TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records one run. Phases are announced with `mark`; the result is `stream`.

    Args:
        attribution: which module is running.
        rules: how the operations are recorded that allocate otherwise than their dispatch shows.

    Attributes:
        notes: what had to be guessed to go on, e.g. a scalar read from a meta tensor.
        watcher: hears of every operation, its arguments and its outputs.
        columns: what meta tensors hold beside features that has values.
        bare_factories_on_host: what is made from nothing and not on meta is the host's, unless
            `for_device` says otherwise.
    """

    def __init__(self, attribution: Attribution, rules: "Mapping[Any, Rule]") -> None:
        Ledger.__init__(self)
        TorchDispatchMode.__init__(self)  # type: ignore[no-untyped-call]
        self._rules = rules
        self.attribution = attribution
        self.notes: list[str] = []
        self._live: dict[int, int] = {}
        self._refs: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._made_once: set[str] = set()
        self._lost: StorageNotes[torch.Tensor] = StorageNotes()
        self._host_only = False
        self.values = KnownValues()
        self.watcher: Watcher | None = None
        self.columns = KnownColumns()
        self.bare_factories_on_host = False
        self._device_only = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Otherwise PyTorch imports torch._dynamo to keep it away from here: 1.5 s for nothing.
        return False

    # -- what the run announces ------------------------------------------------------------

    @property
    def host_bytes(self) -> int:
        """What the same run with values needs at least: the model, the batch, one result."""
        return self.loaded_bytes + self.largest_bytes

    def mark(self, step: int, phase: Phase) -> None:
        """From here on, events belong to this step and phase."""
        super().mark(step, phase)
        self.values.begin_pass()
        announce(f"in the {phase.value} phase of step {step}")

    def adopt(self, tensor: torch.Tensor, category: Category, module: str, op: str) -> None:
        """Record a tensor that exists already, as if it were allocated now."""
        self.track(tensor, op, category=category, module=module)

    def note_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Call after the backward pass: what the parameters hold now are gradients."""
        for parameter in parameters:
            if parameter.grad is not None:
                block = self._live.get(parameter.grad.untyped_storage()._cdata)
                if block is not None:
                    self.is_gradient(block)

    # -- what operations (and their rules) record ---------------------------------------------

    def track(
        self,
        tensor: torch.Tensor,
        op: str,
        *,
        category: Category | None = None,
        module: str | None = None,
        nbytes: int | None = None,
    ) -> int | None:
        """Record the tensor's storage if it is new; return its block, None if it is no device's.

        `nbytes` is given where the GPU's storage is larger than the tensor at hand.
        """
        storage = tensor.untyped_storage()
        key = storage._cdata
        known = self._live.get(key)
        if known is not None:
            return None if known == _HOST else known
        nbytes = storage.nbytes() if nbytes is None else nbytes
        if not nbytes:
            return None
        block = self.allocate(
            nbytes,
            category or current_category(),
            self.attribution.current_path() if module is None else module,
            op,
            tuple(tensor.shape),
            _name_of(tensor.dtype),
        )
        self._hold(storage, block)
        return block

    def temporary(
        self,
        nbytes: int,
        op: str,
        category: Category = Category.TEMPORARY,
        request: Request | None = None,
    ) -> int:
        """Record a block that PyTorch allocates inside an operation, where no mode looks."""
        module = self.attribution.current_path()
        return self.allocate(nbytes, category, module, op, request=request)

    def release(self, *blocks: int) -> None:
        """End blocks from `temporary`, the last one first."""
        for block in reversed(blocks):
            self.free(block)

    def scratch(
        self,
        nbytes: int,
        op: str,
        category: Category = Category.TEMPORARY,
        request: Request | None = None,
    ) -> None:
        """Record a block that does not outlive the operation."""
        self.release(self.temporary(nbytes, op, category, request))

    def dense_copy(
        self,
        tensor: torch.Tensor,
        layout: torch.memory_format = torch.contiguous_format,
        op: str = "aten.contiguous",
    ) -> list[int]:
        """Record a copy for the length of a call, if the tensor is not laid out so."""
        if tensor.is_contiguous(memory_format=layout):
            return []
        return [self.temporary(tensor.nbytes, op)]

    def gemm(self, op: str) -> None:
        """Note that a matrix product is about to run: its thread needs a cuBLAS workspace, once."""
        thread = "autograd" if self.phase is Phase.BACKWARD else "main"
        if thread not in self._made_once:
            self._made_once.add(thread)
            self.temporary(0, op, Category.WORKSPACE, GemmWorkspace(thread))

    def once(self, name: str, nbytes: int, op: str) -> None:
        """Record a library's own buffer, made when it is first needed and never given back."""
        if name not in self._made_once:
            self._made_once.add(name)
            self.temporary(nbytes, op, Category.WORKSPACE)

    def hide(self, tensor: torch.Tensor) -> None:
        """Leave out a tensor of the host: neither it nor what is computed from such is recorded."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._live:
            self._hold(storage, _HOST)

    @contextmanager
    def on_host(self) -> Iterator[None]:
        """Keep what is made inside on the host."""
        self._host_only = True
        try:
            yield
        finally:
            self._host_only = False

    @contextmanager
    def for_device(self) -> Iterator[None]:
        """Count what is made inside as the device's, whatever it is made from."""
        before, self._device_only = self._device_only, True
        try:
            yield
        finally:
            self._device_only = before

    def rehome(self, old: torch.Tensor, new: torch.Tensor) -> None:
        """From here on the block of `old`, which is about to be given up, belongs to `new`."""
        key = old.untyped_storage()._cdata
        block = self._live.get(key)
        if block is not None:
            del self._refs[key], self._live[key]
            self._hold(new.untyped_storage(), block)

    def share(self, old: torch.Tensor, new: torch.Tensor) -> None:
        """Let the block of `old` stand behind `new` too, and live until both are gone."""
        block = self._live.get(old.untyped_storage()._cdata, _HOST)
        self._hold(new.untyped_storage(), block, owner=old)

    def block_of(self, tensor: torch.Tensor) -> int | None:
        """Return the live block behind a tensor, None for the host's and for unknown ones."""
        block = self._live.get(tensor.untyped_storage()._cdata)
        return None if block == _HOST else block

    def is_device(self, tensor: torch.Tensor) -> bool:
        """Whether the tensor would live on the GPU."""
        if tensor.layout is not torch.strided:
            return tensor.is_meta or any(map(self.is_device, stored_in((tensor,))))
        block = self._live.get(tensor.untyped_storage()._cdata)
        return tensor.is_meta if block is None else block != _HOST

    # -- values that nobody knows any more -------------------------------------------------

    def lose_values(self, tensor: torch.Tensor) -> None:
        """From here on nobody knows what is in a tensor's memory, whoever looks at it.

        Operations see meta tensors in the place of those that look at it, see `as_known`.
        """
        if tensor.is_meta or self._lost.of(tensor) is not None:
            return
        self.hide(tensor)  # what was made where nobody looked is the host's
        size = tensor.untyped_storage().nbytes()
        memory = unrecorded(torch.empty, size, dtype=torch.uint8, device="meta")
        self.rehome(tensor, memory)
        self.share(memory, tensor)
        self._lost.keep(tensor, memory)

    def as_known(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the tensor; a meta tensor of the same memory where that has lost its values."""
        memory = None if tensor.is_meta or not self._lost else self._lost.of(tensor)
        if memory is None:
            return tensor
        place = tensor.storage_offset(), tensor.size(), tensor.stride()
        seen = unrecorded(torch.empty, 0, dtype=tensor.dtype, device="meta")
        return unrecorded(seen.set_, memory.untyped_storage(), *place)

    def _lose_what_is_written(self, func: Any, args: tuple[Any, ...], kwargs: Any) -> None:
        """Memory with values that an operation on features writes into has none from here on."""
        if not any(self.as_known(tensor).is_meta for tensor in tensors_in(args, kwargs)):
            return
        named = written_arguments(func)
        written = [args[at] if at < len(args) else kwargs.get(name) for at, name in named]
        for tensor in tensors_in(written, {}):
            self.lose_values(tensor)

    def on_device(self, inputs: Sequence[torch.Tensor], kwargs: dict[str, Any]) -> bool:
        """Whether what an operation makes from these inputs would live on the GPU.

        Factories have no inputs; those without a device argument are hidden by the function mode,
        which sees what the user wrote (see `functions.py`).
        """
        if self._host_only or self._device_only:
            return self._device_only
        device = kwargs.get("device")
        if device is not None and device.type == "meta":
            return True
        if not inputs:
            return not self.bare_factories_on_host
        return any(map(self.is_device, inputs))

    # -- dispatch ------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        rule = self._rules.get(func)
        # Inside, every look at a tensor's shape would pass through the function mode above.
        with torch._C.DisableTorchFunction():
            if func._schema.is_mutable:
                self._lose_what_is_written(func, args, kwargs)
            # A view of what has lost its values has none either, as it looks at the same memory.
            if self._lost and not func.is_view:
                args, kwargs = tree_map_only(torch.Tensor, self.as_known, (args, kwargs))
            outputs = (rule or type(self).run)(self, func, args, kwargs)
            for written in written_by(func, args, outputs):
                self.columns.written(written)
            self.values.note(func, args, outputs)
            if self.watcher is not None:
                self.watcher(func, args, kwargs, outputs)
            return outputs

    @property
    def values(self) -> KnownValues:
        """Who supplies the values that would be needed of meta tensors."""
        return self._values

    @values.setter
    def values(self, values: KnownValues) -> None:
        self._values = values
        values.module = lambda: self.attribution.current_path()

    def asked(self, kind: str, value: torch.Tensor) -> Question:
        """Count a question about values that arises right now.

        `value` is the answer if it is no meta tensor.
        """
        question = self.values.question(kind)
        if not value.is_meta:
            self.values.seen(question, value)
        return question

    def copied_to_host(
        self, tensor: torch.Tensor, dtype: torch.dtype | None = None, *, is_read: bool = True
    ) -> torch.Tensor | None:
        """Copy a meta tensor to the host.

        None for a tensor that has values; the question is numbered all the same. Where nobody
        knows the values the copy is one of zeros if it `is_read`, else a meta tensor of the
        host's: training code copies what it logs, and a copy decides something only where it is
        read.
        """
        tensor = self.as_known(tensor)
        question = self.asked("copy", tensor)
        if not tensor.is_meta:
            return None
        with self.on_host():
            known = self.values.copied(tensor, question, is_read=is_read)
            if known is None and not is_read:
                kept = torch.empty(tensor.shape, dtype=dtype or tensor.dtype, device="meta")
                self.hide(kept)
                return kept
            made = torch.zeros(tensor.shape, dtype=dtype or tensor.dtype, device="cpu")
            return made if known is None else made.copy_(known)

    def known_mask(self, mask: torch.Tensor, question: Question) -> torch.Tensor:
        """Return values for a meta mask; a mask that has values is returned as it is.

        Raises:
            DataDependenceError: no one supplies any.
        """
        return self.values.mask(mask, question) if mask.is_meta else mask

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation as it is and record what it makes."""
        inputs = list(tensors_in(args, kwargs))
        args, kwargs = self.unmixed(args, kwargs, inputs)
        outputs = outputs_of(func, args, kwargs)
        self.record_outputs(outputs, str(func), inputs, kwargs)
        return outputs

    def unmixed(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        inputs: Sequence[torch.Tensor] | None = None,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments, all meta tensors if one of them is; `inputs` are their tensors."""
        tensors = tensors_in(args, kwargs) if inputs is None else inputs
        if len({tensor.is_meta for tensor in tensors}) > 1:
            return all_meta(args), {k: all_meta(v) for k, v in kwargs.items()}
        return args, kwargs

    def record_outputs(
        self, outputs: Any, op: str, inputs: Sequence[torch.Tensor], kwargs: dict[str, Any]
    ) -> None:
        """Record an operation's outputs in their order."""
        on_device = self.on_device(inputs, kwargs)
        for tensor in stored_in((outputs,)):
            if on_device:
                self.track(tensor, op)
            else:
                self.hide(tensor)

    # -- storages --------------------------------------------------------------------------

    def _hold(
        self, storage: torch.UntypedStorage, block: int, owner: torch.Tensor | None = None
    ) -> None:
        """Follow a storage to its end, which frees the block; not one that has an owner."""
        key = storage._cdata
        self._live[key] = block

        def forget(_: Any, owner: torch.Tensor | None = owner) -> None:
            del self._live[key], self._refs[key]
            if owner is None and block != _HOST:
                self.free(block)

        self._refs[key] = weakref.ref(storage, forget)


Rule = Callable[[Recorder, Any, tuple[Any, ...], dict[str, Any]], Any]
"""Runs an operation with its arguments and records what it allocates."""
