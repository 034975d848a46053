"""Announcements in a driver: a program says, while it runs, which of its results are there.

Only who takes results as they come asks for them, as workers do that add up gradients. Behind the
last step that writes an output, loops and branches counted as one step, the program writes a byte
to the file whose number is in a word of the context, less one; if that is 0, nobody listens. So who
waits for results waits as for any file, and no lock of Python's is taken for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.lower.function_text import FunctionText
from graphc.planning.program import Program, Step, touched, walk_steps

DECLARATION = "declare i64 @write(i32, ptr, i64)"
READY = 1  # the byte that says that further results are there


class Announcements:
    """The announcements of a program; none, where `asked` is False. `behind` has the outputs that
    are complete behind a step, by its number."""

    def __init__(self, program: Program, asked: bool) -> None:
        self.behind: dict[int, list[int]] = {}
        self.words = int(asked)
        self._count = len(program.steps)
        if not asked or not program.steps:
            return
        last = dict.fromkeys(range(len(program.outputs)), 0)  # of empty ones nothing is written
        for number, step in enumerate(program.steps):
            last |= dict.fromkeys(_outputs(step), number)
        for output, number in last.items():
            self.behind.setdefault(number, []).append(output)

    @property
    def order(self) -> list[tuple[int, list[int]]]:
        """For each announcement, in order: how many steps come behind it, and the outputs."""
        return [(self._count - 1 - step, self.behind[step]) for step in sorted(self.behind)]

    def announce(self, text: FunctionText, step: int) -> None:
        """What is said behind a step."""
        if step not in self.behind:
            return
        bell = text.word("i64", text.layout.bell)

        def ring() -> None:
            place = text.stack("bell", "i8")
            text.store("i8", str(READY), place)
            file = text.emit(f"trunc i64 {text.emit(f'sub i64 {bell}, 1')} to i32")
            text.line(f"call i64 @write(i32 {file}, ptr {place}, i64 1)")

        text.choose(text.emit(f"icmp ne i64 {bell}, 0"), ring)


def _outputs(step: Step) -> Sequence[int]:
    """The outputs that a step writes, by their places."""
    written = (ref.storage for part in walk_steps([step]) for ref in touched(part)[1])
    return [storage.index for storage in written if storage.kind == "output"]
