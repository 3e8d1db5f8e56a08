"""Small routines that are compiled for this processor when the process first needs them.

numpy takes a pass over memory for each operation; what sums, filters and looks for peaks at the source's rate needs many. Here
such a routine is written down once as operations on vectors, and LLVM makes one loop of it, in some 30 ms.

Nothing is contracted or put in another order (no fused multiply-add, no "fast math"), and vectors have a fixed length whatever
the processor's registers hold: a routine returns the same bits on every machine.
"""

import ctypes
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import llvmlite.binding as llvm
from llvmlite import ir

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INT = ir.IntType(64)
SINGLE, DOUBLE = ir.FloatType(), ir.DoubleType()
INT32 = ir.IntType(32)
_lock = threading.Lock()


def vector(element: ir.Type, length: int) -> ir.Type:
    """Return the type of a vector."""
    return ir.VectorType(element, length)


class ForbiddenCodeError(RuntimeError):
    """A process may not make memory executable here; the text is for the user."""


class Term:
    """A value inside a routine; numbers that it is combined with take its type."""

    def __init__(self, builder: ir.IRBuilder, value: ir.Value) -> None:
        self.builder, self.value = builder, value

    @property
    def type(self) -> ir.Type:
        """Type of the value."""
        return self.value.type

    def _with(self, other: "Term | float", of_floats: str, of_ints: str) -> "Term":
        right = other.value if isinstance(other, Term) else _constant(other, self.type)
        kind = of_ints if isinstance(_element(self.type), ir.IntType) else of_floats
        return Term(self.builder, getattr(self.builder, kind)(self.value, right))

    def __add__(self, other: "Term | float") -> "Term":
        return self._with(other, "fadd", "add")

    def __sub__(self, other: "Term | float") -> "Term":
        return self._with(other, "fsub", "sub")

    def __mul__(self, other: "Term | float") -> "Term":
        return self._with(other, "fmul", "mul")

    __rmul__ = __mul__

    def __truediv__(self, other: "Term | float") -> "Term":
        return self._with(other, "fdiv", "")

    def __and__(self, other: "Term | float") -> "Term":
        return self._with(other, "", "and_")

    def __or__(self, other: "Term | float") -> "Term":
        return self._with(other, "", "or_")

    def __lshift__(self, other: int) -> "Term":
        return self._with(other, "", "shl")

    def __rshift__(self, other: int) -> "Term":
        return self._with(other, "", "lshr")

    def __ge__(self, other: "Term | float") -> "Term":
        return self._compared(">=", other)

    def __gt__(self, other: "Term | float") -> "Term":
        return self._compared(">", other)

    def _compared(self, how: str, other: "Term | float") -> "Term":
        right = other.value if isinstance(other, Term) else _constant(other, self.type)
        return Term(self.builder, self.builder.fcmp_ordered(how, self.value, right))

    def max(self, other: "Term") -> "Term":
        """Return the larger of two numbers, the other one where this one is NaN."""
        larger = self.builder.fcmp_ordered(">", self.value, other.value)
        return Term(self.builder, self.builder.select(larger, self.value, other.value))

    def min(self, other: "Term") -> "Term":
        """Return the smaller of two numbers, the other one where this one is NaN."""
        compare = self.builder.icmp_signed if isinstance(_element(self.type), ir.IntType) else self.builder.fcmp_ordered
        smaller = compare("<", self.value, other.value)
        return Term(self.builder, self.builder.select(smaller, self.value, other.value))

    def root(self) -> "Term":
        """Return the square roots of a vector of singles."""
        name = f"llvm.sqrt.v{self.type.count}f32"
        routine = self.builder.module.declare_intrinsic(name, fnty=ir.FunctionType(self.type, [self.type]))
        return Term(self.builder, self.builder.call(routine, [self.value]))

    def widened(self) -> "Term":
        """Return singles as doubles."""
        return Term(self.builder, self.builder.fpext(self.value, _alike(self.type, DOUBLE)))

    def narrowed(self) -> "Term":
        """Return doubles as singles."""
        return Term(self.builder, self.builder.fptrunc(self.value, _alike(self.type, SINGLE)))

    def as_integers(self) -> "Term":
        """Return the bits of singles as integers of 32 bits."""
        return Term(self.builder, self.builder.bitcast(self.value, _alike(self.type, INT32)))

    def as_singles(self) -> "Term":
        """Return the singles whose bits these integers of 32 bits are."""
        return Term(self.builder, self.builder.bitcast(self.value, _alike(self.type, SINGLE)))

    def shortened(self) -> "Term":
        """Return integers of 32 bits."""
        return Term(self.builder, self.builder.trunc(self.value, _alike(self.type, INT32)))

    def numbers(self) -> "Term":
        """Return integers as singles."""
        return Term(self.builder, self.builder.sitofp(self.value, _alike(self.type, SINGLE)))

    def picked(self, other: "Term", places: Sequence[int]) -> "Term":
        """Return the elements at `places` of this vector and the other one behind it."""
        mask = ir.Constant(ir.VectorType(INT32, len(places)), list(places))
        return Term(self.builder, self.builder.shuffle_vector(self.value, other.value, mask))

    def folded(self, combine: "Callable[[Term, Term], Term]") -> "Term":
        """Return one number of a vector: its halves combined, their halves, and so on."""
        term, count = self, self.type.count
        while count > 1:
            count //= 2
            term = combine(*(term.picked(term, range(start, start + count)) for start in (0, count)))
        return Term(self.builder, self.builder.extract_element(term.value, ir.Constant(INT32, 0)))

    def bits(self) -> "Term":
        """Return a vector of truths as a number: the first in the lowest bit."""
        packed = self.builder.bitcast(self.value, ir.IntType(self.type.count))
        return Term(self.builder, self.builder.zext(packed, INT))

    def lowest(self) -> "Term":
        """Return the place of the lowest bit that is set."""
        return Term(self.builder, self.builder.cttz(self.value, ir.Constant(ir.IntType(1), 1)))

    def ones(self) -> "Term":
        """Return how many bits of a number are set."""
        return Term(self.builder, self.builder.ctpop(self.value))


class Routine:
    """A routine that is being written: what its body is given.

    Parameters
    ----------
    function : llvmlite.ir.Function
        Empty.

    Attributes
    ----------
    arguments : list of Term
    """

    def __init__(self, function: ir.Function) -> None:
        self._function = function
        self.builder = ir.IRBuilder(function.append_basic_block())
        self.arguments = [Term(self.builder, argument) for argument in function.args]

    def load(self, array: Term, index: "Term | int", kind: ir.Type) -> Term:
        """Return the element at `index`, or the vector that begins there."""
        place = self._place(array, index, kind)
        return Term(self.builder, self.builder.load(place, typ=kind, align=_ALIGN[_element(kind)]))

    def store(self, value: Term, array: Term, index: "Term | int") -> None:
        """Write an element, or a vector from there on."""
        self.builder.store(value.value, self._place(array, index, value.type), align=_ALIGN[_element(value.type)])

    def spread(self, array: Term, index: "Term | int", kind: ir.VectorType) -> Term:
        """Return a vector of the element at `index`."""
        element = self.load(array, index, kind.element)
        nothing = ir.Constant(kind, ir.Undefined)
        first = Term(self.builder, self.builder.insert_element(nothing, element.value, ir.Constant(INT32, 0)))
        return first.picked(first, [0] * kind.count)

    def constant(self, number: float, kind: ir.Type) -> Term:
        """Return a number, or a vector of it."""
        return Term(self.builder, _constant(number, kind))

    def integer(self, number: int) -> Term:
        """Return an integer."""
        return self.constant(number, INT)

    def packed(self, elements: Sequence[Term]) -> Term:
        """Return a vector of numbers."""
        value = ir.Constant(ir.VectorType(elements[0].type, len(elements)), ir.Undefined)
        for place, element in enumerate(elements):
            value = self.builder.insert_element(value, element.value, ir.Constant(INT32, place))
        return Term(self.builder, value)

    def loop(
        self, start: "Term | int", stop: "Term | int", step: int, carried: Sequence[Term], body: Callable[..., Sequence[Term]]
    ) -> list[Term]:
        """Run ``carried = body(index, *carried)`` for every index below `stop`; return what was carried last."""
        builder, before = self.builder, self.builder.block
        head, inner, after = (self._function.append_basic_block() for _ in range(3))
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(INT)
        index.add_incoming(_integer(start), before)
        slots = [builder.phi(term.type) for term in carried]
        for slot, term in zip(slots, carried, strict=True):
            slot.add_incoming(term.value, before)
        builder.cbranch(builder.icmp_signed("<", index, _integer(stop)), inner, after)
        builder.position_at_end(inner)
        found = body(Term(builder, index), *(Term(builder, slot) for slot in slots))
        index.add_incoming(builder.add(index, ir.Constant(INT, step)), builder.block)
        for slot, term in zip(slots, found, strict=True):
            slot.add_incoming(term.value, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return [Term(builder, slot) for slot in slots]

    def _place(self, array: Term, index: "Term | int", kind: ir.Type) -> ir.Value:
        return self.builder.gep(array.value, [_integer(index)], source_etype=_element(kind))


class Compiled:
    """A routine that is compiled when it is first called.

    Parameters
    ----------
    arguments : str
        A letter for each: "a" for an array (no two may overlap), "n" for an integer.
    body : callable
        Writes the routine.
    """

    def __init__(self, arguments: str, body: Callable[[Routine], None]) -> None:
        self._arguments, self._body = arguments, body
        self._run: Callable[..., None] | None = None

    def __call__(self, *values: int) -> None:
        """Run the routine with the `address` of arrays, and integers. Nothing is checked."""
        (self._run or self.prepare())(*values)

    def prepare(self) -> Callable[..., None]:
        """Compile the routine, unless that is done."""
        with _lock:
            if self._run is None:
                self._engine, self._run = self._compile()
            return self._run

    def _compile(self) -> tuple[llvm.ExecutionEngine, Callable[..., None]]:
        kinds = {"a": (ir.PointerType(), ctypes.c_void_p), "n": (INT, ctypes.c_int64)}
        module = ir.Module()
        types = [kinds[letter][0] for letter in self._arguments]
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), types), self._body.__name__)
        for argument, letter in zip(function.args, self._arguments, strict=True):
            if letter == "a":
                argument.add_attribute("noalias")
        routine = Routine(function)
        self._body(routine)
        routine.builder.ret_void()
        engine = _machine_code(str(module))
        place = engine.get_function_address(function.name)
        if not _may_run(place):
            raise ForbiddenCodeError(
                "This system forbids MAP4 to make memory executable, which its analysis needs: allow it "
                "(systemd: MemoryDenyWriteExecute=no; SELinux: deny_execmem off)."
            )
        # The engine holds the code: it is kept.
        return engine, ctypes.CFUNCTYPE(None, *(kinds[letter][1] for letter in self._arguments))(place)


_known: list[Compiled] = []


def compiled(arguments: str) -> Callable[[Callable[[Routine], None]], Compiled]:
    """Make a routine of a function that writes it (see `Compiled`)."""

    def decorated(body: Callable[[Routine], None]) -> Compiled:
        _known.append(found := Compiled(arguments, body))
        return found

    return decorated


def compile_all() -> None:
    """Compile every routine of the modules loaded so far; processes forked from this one then have them."""
    for routine in _known:
        routine.prepare()


def _may_run(place: int) -> bool:
    """Return whether memory is executable. LLVM does not say when it could not make it so, and a call would be a crash."""
    if sys.platform != "linux":
        return True
    try:
        with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:
            for line in maps:
                span, rights = line.split(maxsplit=2)[:2]
                first, end = (int(number, 16) for number in span.split("-"))
                if first <= place < end:
                    return "x" in rights
    except OSError:  # no /proc here
        pass
    return True


def columns_of(rows: Sequence[Term]) -> list[Term]:
    """Return the columns of eight vectors of eight."""
    low, high = [0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15]
    pairs = [rows[k].picked(rows[k + 1], half) for k in range(0, 8, 2) for half in (low, high)]
    low, high = [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]
    fours = [pairs[k].picked(pairs[k + 2], half) for k in (0, 1, 4, 5) for half in (low, high)]
    low, high = [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]
    return [fours[k].picked(fours[k + 4], half) for half in (low, high) for k in range(4)]


def address(array: "NDArray[np.generic]") -> int:
    """Return where an array's elements lie; the caller holds on to it."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError):  # not writable, not contiguous or empty: this takes five times as long
        return array.ctypes.data


def _machine_code(text: str) -> llvm.ExecutionEngine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(text)
    module.verify()
    try:
        features = llvm.get_host_cpu_features().flatten()
    except RuntimeError:  # this system does not tell
        features = ""
    target = llvm.Target.from_default_triple().create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=2)
    engine = llvm.create_mcjit_compiler(module, target)
    engine.finalize_object()
    return engine


#: Bytes that an element's address is a multiple of.
_ALIGN = {SINGLE: 4, INT32: 4, DOUBLE: 8, INT: 8}


def _alike(kind: ir.Type, element: ir.Type) -> ir.Type:
    """Return the type of as many elements of another type."""
    return ir.VectorType(element, kind.count) if isinstance(kind, ir.VectorType) else element


def _element(kind: ir.Type) -> ir.Type:
    return kind.element if isinstance(kind, ir.VectorType) else kind


def _constant(number: float, kind: ir.Type) -> ir.Constant:
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [ir.Constant(kind.element, number)] * kind.count)
    return ir.Constant(kind, number)


def _integer(number: Term | int) -> ir.Value:
    return number.value if isinstance(number, Term) else ir.Constant(INT, number)
