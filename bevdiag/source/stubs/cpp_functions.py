"""What a compiled function allocates, followed through the C++ of the code around its kernels.

The wrapper of a kernel makes its outputs and scratch tensors by PyTorch's own functions, from the
sizes of what it is given. That is followed here, statement by statement: a function of ATen is the
one of its name in Python, on tensors without values. Kernels only fill. Whatever else there is, an
allocation beside PyTorch, a size from a value, a construct that is not known, ends the reading: no
memory is guessed.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bevdiag.source.stubs.cpp_text import Definition, Statement, definitions, split, statements


class UnreadableError(Exception):
    """The C++ cannot be followed; says where it says what."""


@dataclass(frozen=True, slots=True)
class _Options:
    """TensorOptions: the type of a tensor that is made with them, and whether on the GPU."""

    dtype: torch.dtype = torch.float32
    on_gpu: bool = True


class _Unknown:
    """A value that decides no memory: a pointer, a stream, a grid of blocks."""


class _Returned(BaseException):
    def __init__(self, value: Any) -> None:
        self.value = value


_UNKNOWN = _Unknown()
_META = torch.device("meta")
_MOST_PASSES, _DEEPEST = 4096, 16
_WORDS = {
    torch.float32: "kFloat kFloat32 Float float",
    torch.float64: "kDouble kFloat64 Double double",
    torch.float16: "kHalf kFloat16 Half",
    torch.int64: "kLong kInt64 Long int64_t",
    torch.int32: "kInt kInt32 Int int32_t int",
    torch.int16: "kShort kInt16 Short",
    torch.int8: "kChar kInt8 Char",
    torch.uint8: "kByte kUInt8 Byte",
    torch.bool: "kBool Bool bool",
}
_DTYPES = {word: dtype for dtype, words in _WORDS.items() for word in words.split()}
_CONSTANTS = {"true": True, "false": False, "nullptr": None, "NULL": None}
_MEMORY = re.compile(
    r"\b(?:at|torch|thrust|cub)\s*::|Tensor\b|[aA]lloc|\bauto\b|\bnew\b|\.contiguous\s*\(|\.to\s*\("
)
"""What a text that allocates nothing has none of."""
_ASIDE = re.compile(r'"(?:\\.|[^"\\])*"|\b(?:at|c10|torch)\s*::\s*(?:cuda\b|\w*Guard\b|k?[A-Z]\w*)')
"""What of it has to do with no memory: messages, streams, guards, types."""
_FREE_OF_MEMORY = (
    *("data", "data_ptr", "mutable_data_ptr", "const_data_ptr", "device", "get_device"),
    *("packed_accessor", "packed_accessor32", "packed_accessor64", "accessor", "defined"),
    *("stride", "element_size", "requires_grad"),
)
_SHAPES = ("size", "sizes", "dim", "numel", "type", "scalar_type", "is_contiguous", "is_cuda")
_REFUSED = ("item", "cpu", "nonzero", "masked_select", "unique", "to_dense", "numpy", "tolist")
"""Methods whose results hang on values, or that leave the GPU."""
_DECLARED = re.compile(
    r"(?:(?:static|const|constexpr|unsigned|long)\s+)*[\w:]+(?:\s*<[^=;()]*>)?[\s&*]+"
    r"(?:const\s+)?(\w+)\s*(=(?!=)|\(|\{|\[|$)"
)
_ASSIGNED = re.compile(r"(\w+)\s*([-+*/%|&^]|<<|>>)?=(?!=)\s*(.+)$", re.DOTALL)
_CHANGED = re.compile(
    r"\b(\w+)\s*(?:\[[^\]]*\]\s*)?(?:(?:[-+*/%|&^]|<<|>>)?=(?!=)|\+\+|--)"
    r"|(?:\+\+|--|(?<!&)&)\s*(\w+)"
)
"""Names that a text may give another value."""
_METHOD = re.compile(r"\b(\w+)\s*\.\s*(\w+)")
_LEAVES = re.compile(r"(?:break|continue|goto|throw)\b")
_LAMBDA = re.compile(r"\[\s*[&=]?\s*\]\s*(?:\(\s*\)\s*)?\{")
_COUNTED = re.compile(
    r"[\w:\s]*?\b(\w+)\s*=\s*([^;]+);\s*(\w+)\s*<(=?)\s*([^;]+);\s*(?:\+\+\s*(\w+)|(\w+)\s*\+\+)\s*$"
)
_TRANSLATED = (
    (re.compile(r"\s*<(?!<)[\w\s:,*&]*(?<!<)>(?=\s*[({])"), ""),  # arguments of a template
    (re.compile(r"\(\s*(?:int|float|double|long|unsigned|size_t|u?int\d+_t)\s*\)"), ""),  # a cast
    (re.compile(r"\b(\d+\.?\d*(?:[eE][-+]?\d+)?)[uUlLfF]+\b"), r"\1"),
    (re.compile(r"\s*(?:::|->)\s*"), "."),
    (re.compile(r"&&"), " and "),
    (re.compile(r"\|\|"), " or "),
    (re.compile(r"!(?!=)"), " not "),
    (re.compile(r"\{"), "["),
    (re.compile(r"\}"), "]"),
    (re.compile(r"\s+"), " "),
)
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Mod: operator.mod,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
}


def follow(name: str, texts: Mapping[str, str], args: tuple[Any, ...]) -> Any:
    """Run a function of C++ for what it allocates and returns.

    Args:
        name: without namespaces.
        texts: the C++ of its module, by file, without comments.
        args: tensors without values, on the GPU, numbers, and anything else.

    Returns:
        What it returns, tensors without values.

    Raises:
        UnreadableError: it cannot be followed.
    """
    try:
        return _Reading(texts).call(name, args)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise UnreadableError(f"{type(error).__name__}: {_in_short(str(error))}") from error


@dataclass(slots=True)
class _Reading:
    """One function's run."""

    texts: Mapping[str, str]
    scopes: list[dict[str, Any]] = field(default_factory=list)
    depth: int = 0

    # -- functions and statements ------------------------------------------------------------------

    def call(self, name: str, args: Sequence[Any]) -> Any:
        found = [one for one in definitions(name, self.texts) if one.body is not None]
        if len({" ".join((one.body or "").split()) for one in found}) != 1:
            raise UnreadableError(f"{name} has {len(found)} definitions")
        if self.depth >= _DEEPEST:
            raise UnreadableError(f"{name} calls itself")
        inner = _Reading(self.texts, [self._bound(found[0], args)], self.depth + 1)
        try:
            inner._run(found[0].body or "")
        except _Returned as returned:
            return returned.value
        return None

    def _bound(self, function: Definition, args: Sequence[Any]) -> dict[str, Any]:
        missing = function.parameters[len(args) :]
        if len(args) > len(function.parameters) or not all(one.default for one in missing):
            raise UnreadableError(f"{len(args)} arguments for {len(function.parameters)}")
        given = {one.name: arg for one, arg in zip(function.parameters, args, strict=False)}
        return given | {one.name: self._value(one.default) for one in missing}

    def _run(self, text: str) -> None:
        self.scopes.append({})
        try:
            for statement in statements(text):
                self._step(statement)
        finally:
            self.scopes.pop()

    def _step(self, statement: Statement) -> None:
        match statement.keyword:
            case "":
                self._plain(statement.text)
            case "{":
                self._run(statement.body)
            case "if":
                condition = self._value(statement.text)
                if condition is _UNKNOWN:
                    self._pass_over(f"{statement.body} {statement.other}")
                else:
                    self._run(statement.body if condition else statement.other)
            case "for":
                self._repeat(statement)
            case _:
                self._pass_over(f"{statement.text} {statement.body}")

    def _pass_over(self, text: str) -> None:
        """Leave out what is not followed, if it has nothing to do with memory."""
        odd = _MEMORY.search(_ASIDE.sub("", text)) or re.search(r"\breturn\b", text)
        made = (
            name not in _FREE_OF_MEMORY and name not in _SHAPES
            for owner, name in _METHOD.findall(text)
            if isinstance(self._named(owner), (Tensor, list))
        )
        if odd or any(made):
            raise UnreadableError(f"`{_in_short(text)}` is not followed")
        for names in _CHANGED.findall(text):
            for scope in self.scopes:
                scope.update(dict.fromkeys(scope.keys() & set(names), _UNKNOWN))

    def _repeat(self, statement: Statement) -> None:
        counted = _COUNTED.match(statement.text.strip())
        begin, end = (self._value(counted[2]), self._value(counted[5])) if counted else (None, None)
        if (
            counted is None
            or counted[3] != counted[1]
            or not (isinstance(begin, int) and isinstance(end, int))
        ):
            self._pass_over(statement.body)
            return
        passes = range(begin, end + bool(counted[4]))
        if len(passes) > _MOST_PASSES:
            raise UnreadableError(f"`for ({_in_short(statement.text)})` runs too often")
        for number in passes:
            self.scopes.append({counted[1]: number})
            self._run(statement.body)
            self.scopes.pop()

    def _plain(self, text: str) -> None:
        if _LEAVES.match(text):
            raise UnreadableError(f"`{_in_short(text)}` is not followed")
        inside = _LAMBDA.search(text)
        if re.match(r"return\b", text):
            raise _Returned(self._value(text[len("return") :]) if text != "return" else None)
        if inside is not None and re.match(r"\w*DISPATCH", text):
            self._run(text[inside.end() :].rpartition("}")[0])
        elif "<<<" in text or re.match(r"[A-Z][A-Z0-9_]*\s*\(", text):
            self._pass_over(text)  # a kernel, or a macro that checks
        elif declared := _DECLARED.match(text):
            self._declare(declared, text)
        elif assigned := _ASSIGNED.match(text):
            name, computed, value = assigned.groups()
            self._assign(name, self._value(f"{name} {computed} ({value})" if computed else value))
        else:
            self._value(text)

    def _declare(self, declared: re.Match[str], text: str) -> None:
        behind = text[declared.end() :]
        scope = self.scopes[-1]
        if declared[2] == "=":
            first, *others = split(behind)
            scope[declared[1]] = self._value(first)
            for name, _, value in (other.partition("=") for other in others):
                scope[name.strip()] = self._value(value) if value else _UNKNOWN
            return
        self._pass_over(behind)
        is_empty = not declared[2] and re.match(r"(?:std\s*::\s*)?vector\b", text)
        scope[declared[1]] = [] if is_empty else _UNKNOWN

    def _assign(self, name: str, value: Any) -> None:
        scope = next((scope for scope in reversed(self.scopes) if name in scope), self.scopes[-1])
        scope[name] = value

    # -- expressions -------------------------------------------------------------------------------

    def _value(self, text: str) -> Any:
        written = text.strip()
        for pattern, by in _TRANSLATED:
            written = pattern.sub(by, written)
        try:
            tree = ast.parse(written.strip(), mode="eval")
        except (SyntaxError, ValueError):
            self._pass_over(text)
            return _UNKNOWN
        return self._of(tree.body)

    def _of(self, node: ast.AST) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return self._named(node.id)
            case ast.List() | ast.Tuple():
                return [self._of(item) for item in node.elts]
            case ast.Call():
                return self._called(node)
            case ast.Attribute(attr="kCPU"):
                raise UnreadableError("a tensor of the host is not followed")
            case ast.Attribute():
                return _DTYPES.get(node.attr, _UNKNOWN)
            case ast.Subscript():
                return self._at(self._of(node.value), self._of(node.slice))
            case ast.UnaryOp():
                return self._computed(node.op, self._of(node.operand))
            case ast.BinOp():
                return self._computed(node.op, self._of(node.left), self._of(node.right))
            case ast.Compare(ops=[op], comparators=[right]):
                return self._computed(op, self._of(node.left), self._of(right))
            case ast.BoolOp():
                values = [self._of(value) for value in node.values]
                if any(value is _UNKNOWN for value in values):
                    return _UNKNOWN
                return (all if isinstance(node.op, ast.And) else any)(values)
        raise UnreadableError(f"`{ast.unparse(node)}` is not followed")

    def _named(self, name: str) -> Any:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        return _CONSTANTS.get(name, _DTYPES.get(name, _UNKNOWN))

    def _at(self, value: Any, index: Any) -> Any:
        if isinstance(value, (list, tuple, Tensor)) and isinstance(index, int):
            return value[index]
        return _UNKNOWN

    def _computed(self, op: ast.AST, *values: Any) -> Any:
        if not all(isinstance(value, (bool, int, float)) for value in values):
            if any(isinstance(value, Tensor) for value in values):
                raise UnreadableError("arithmetic on tensors is not followed")
            return _UNKNOWN
        if isinstance(op, ast.Div):
            left, right = values
            if isinstance(left, float) or isinstance(right, float):
                return left / right
            quotient = abs(left) // abs(right)
            return quotient if (left < 0) is (right < 0) else -quotient
        function = _OPERATORS.get(type(op))
        return _UNKNOWN if function is None else function(*values)

    def _called(self, node: ast.Call) -> Any:
        path = ast.unparse(node.func)
        space, _, name = path.rpartition(".")
        args = [self._of(argument) for argument in node.args]
        library = re.fullmatch(r"(at|torch|std|c10|thrust|cub)(?:\.\w+)*", space)
        if library is None and isinstance(node.func, ast.Attribute):
            return self._method(self._of(node.func.value), name, args)
        if space in ("at", "torch"):
            return self._of_torch(name, args)
        if name in ("min", "max") and all(isinstance(value, (int, float)) for value in args):
            return (min if name == "min" else max)(args)
        if name in ("make_tuple", "tuple", "vector"):
            return args
        if name == "static_cast" or name in _DTYPES:
            return args[0] if args and isinstance(args[0], int) else _UNKNOWN
        if not space and (found := definitions(name, self.texts)):
            return self._of_repository(name, found, args)
        is_odd = "alloc" in path.lower() or (library and library[1] in ("thrust", "cub"))
        if is_odd or any(map(_holds_tensors, args)):
            raise UnreadableError(f"`{path}` is not known")
        return _UNKNOWN

    def _of_repository(self, name: str, found: list[Definition], args: list[Any]) -> Any:
        text = " ".join(one.body or "Tensor" for one in found)
        takes_tensors = any("Tensor" in one.type for one in found[0].parameters)
        writes = any(
            "&" in one.type and "const" not in one.type and "Tensor" not in one.type
            for one in found[0].parameters
        )
        if writes:
            raise UnreadableError(f"`{name}` writes what it is given")
        if not takes_tensors and not _MEMORY.search(_ASIDE.sub("", text)):
            return _UNKNOWN
        return self.call(name, args)

    def _of_torch(self, name: str, args: list[Any]) -> Any:
        if name in ("TensorOptions", "dtype", "device"):
            return self._method(_Options(on_gpu=False), name, args)
        return self._applied(getattr(torch, name, None), name, args)

    def _method(self, owner: Any, name: str, args: list[Any]) -> Any:
        if name == "is_cuda":
            return True
        if isinstance(owner, _Options):
            dtypes = [value for value in args if isinstance(value, torch.dtype)]
            on_gpu = owner.on_gpu or name == "device"
            return _Options(dtypes[0] if dtypes else owner.dtype, on_gpu)
        if isinstance(owner, list) and name in ("push_back", "emplace_back") and len(args) == 1:
            owner.append(args[0])
            return None
        if isinstance(owner, list) and name == "size":
            return len(owner)
        if not isinstance(owner, Tensor):
            if isinstance(owner, list) or any(map(_holds_tensors, args)) or "alloc" in name:
                raise UnreadableError(f"`{name}` is not followed")
            return _UNKNOWN
        match name:
            case "options" | "type" | "scalar_type" | "dtype":
                return _Options(owner.dtype)
            case "sizes":
                return list(owner.shape)
            case "toType":
                name = "to"
            case _ if name in _FREE_OF_MEMORY:
                return _UNKNOWN
        return self._applied(getattr(Tensor, name, None), name, [owner, *args])

    def _applied(self, function: Any, name: str, args: list[Any]) -> Any:
        """Run the function of PyTorch that C++ calls by the same name."""
        options = [value for value in args if isinstance(value, _Options)]
        given = [value for value in args if not isinstance(value, _Options)]
        if function is None or name in _REFUSED or any(value is _UNKNOWN for value in given):
            raise UnreadableError(f"`{name}` is not followed")
        named: dict[str, Any] = {"dtype": options[0].dtype, "device": _META} if options else {}
        made = function(*given, **named)
        if isinstance(made, Tensor) and not (made.is_meta and all(o.on_gpu for o in options)):
            raise UnreadableError(f"`{name}` makes a tensor of the host")
        return made


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, Tensor) or (
        isinstance(value, list) and any(map(_holds_tensors, value))
    )


def _in_short(text: str) -> str:
    return " ".join(text.split())[:60]
