"""The types of kernel source, by one walk along it.

Numba asks its rules for the types of all statements again and again until nothing changes, as a
variable may turn out to be of a wider type than its first value. Kernels have no such variable: a
conversion is written where there is one, and each is assigned before it is read, in the order of
the source too. So one walk asks the same rules once for each statement, which takes a tenth of the
time. What differs from that is an error, never another type.
"""

from __future__ import annotations

import operator
from typing import Any

from numba import types
from numba.core import ir, utils
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.typing.templates import Signature


class _Walk:
    """The types of variables by name, and the signatures of what is called, by expression."""

    def __init__(self, context: Any, function: Any, arguments: tuple[Any, ...]) -> None:
        self.context = context
        self.arguments = arguments
        self.types: dict[str, Any] = {}
        self.signatures: dict[Any, Signature | None] = {}
        self._globals: dict[str, Any] = {}
        for name, kind in zip(function.arg_names, arguments, strict=True):
            self.types[f"arg.{name}"] = kind
        for _, block in sorted(function.blocks.items()):
            for statement in block.body:
                self._statement(statement)

    def _statement(self, statement: Any) -> None:
        match statement:
            case ir.Assign():
                self._assign(statement.target.name, self._value(statement.value))
            case ir.SetItem():
                given = (statement.target, statement.index, statement.value)
                self.signatures[statement] = self._stored(given)
            case ir.StaticSetItem():
                given = (statement.target, statement.index_var, statement.value)
                self.signatures[statement] = self._stored(given)
            case ir.Return():
                self.types[statement.value.name] = types.void
            case ir.Jump() | ir.Branch() | ir.Del():
                pass
            case _:
                raise TypeError(f"kernels have no such statement: {statement}")

    def _assign(self, name: str, kind: Any) -> None:
        if not name.startswith("$"):  # what is not a part of a statement may be assigned again
            kind = types.unliteral(kind)
        known = self.types.setdefault(name, kind)
        if known is not kind and known != kind:  # a choice between a literal and a value
            self.types[name] = unified = self.context.unify_pairs(known, kind)
            if unified is None or types.unliteral(known) != types.unliteral(unified):
                raise TypeError(f"{name} is {known} and {kind}")

    def _value(self, value: Any) -> Any:
        match value:
            case ir.Expr():
                return self._expression(value)
            case ir.Var():
                return self.types[value.name]
            case ir.Arg():
                return self.arguments[value.index]
            case ir.Const():
                literal = types.maybe_literal(value.value) if value.use_literal_type else None
                return literal or self.context.resolve_value_type(value.value)
            case ir.Global():
                found = self._globals.get(value.name)
                if found is None:
                    found = types.maybe_literal(value.value)
                    found = found or self.context.resolve_value_type(value.value)
                    self._globals[value.name] = found
                return found
        raise TypeError(f"kernels have no such value: {value}")

    def _expression(self, e: Any) -> Any:
        match e.op:
            case "call":
                return self._called(e, self.types[e.func.name], e.args)
            case "binop" | "inplace_binop":
                return self._called(e, self._operator(e.fn), (e.lhs, e.rhs))
            case "unary":
                return self._called(e, self._operator(e.fn), (e.value,))
            case "getitem":
                return self._called(e, operator.getitem, (e.value, e.index))
            case "static_getitem":
                return self._called(e, operator.getitem, (e.value, e.index_var))
            case "getiter" | "iternext":
                return self._called(e, e.op, (e.value,))
            case "pair_first":
                return self.types[e.value.name].first_type
            case "pair_second":
                return self.types[e.value.name].second_type
            case "cast":
                return self.types[e.value.name]
        raise TypeError(f"kernels have no such expression: {e}")

    def _operator(self, function: Any) -> Any:
        known = function in utils.OPERATORS_TO_BUILTINS
        return self.context.resolve_value_type(function) if known else function

    def _called(self, e: Any, function: Any, arguments: Any) -> Any:
        kinds = tuple([self.types[a.name] for a in arguments])
        found = self.context.resolve_function_type(function, kinds, {})
        if found is None:
            raise TypeError(f"{function} of {kinds}")
        self.signatures[e] = found
        return found.return_type

    def _stored(self, given: Any) -> Any:
        kinds = tuple(self.types[v.name] for v in given)
        found = self.context.resolve_setitem(*kinds)
        if found is None:
            raise TypeError(f"an element of {kinds[0]} at {kinds[1]} is {kinds[2]}")
        return found


@register_pass(mutates_CFG=True, analysis_only=False)
class Typing(FunctionPass):
    """In place of Numba's inference."""

    _name = "graphc_typing"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        walk = _Walk(state.typingctx, state.func_ir, state.args)
        state.typemap, state.calltypes = walk.types, walk.signatures
        state.return_type = types.void
        return True
