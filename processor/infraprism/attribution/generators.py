"""Generators that have an open `with attribution(...)` block.

A generator runs in the context of the code that advances it, so a ContextVar that it sets stays set in that code while
the generator is suspended. Therefore a block that is entered in a generator is recorded together with the generator's
frame, and applies only while the generator runs.

The generator function of a context manager is an exception: its block applies to the code inside `with`, so it belongs
to the caller. Fixtures of pytest and coroutines of Tornado and Twisted are further exceptions: their generators are
advanced by a framework, whose context is the right one.
"""

from __future__ import annotations

import inspect
from dis import opmap
from types import CodeType, FrameType
from typing import Any, Final

_GENERATOR: Final = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_ENTERING: Final = frozenset(("__enter__", "__aenter__", "__exit__", "__aexit__"))
"""Methods of context managers: what they enter applies to their caller."""
_FRAMEWORKS: Final = frozenset(("_pytest", "pluggy", "pytest_asyncio", "anyio", "tornado", "twisted"))
"""Packages that advance generators of an application and run its other code in the context of the generator."""
_RESUME: Final = opmap.get("RESUME", -1)
_CODE_UNIT: Final = 2
"""The bytes of an instruction: the opcode and its argument."""
_AFTER_AWAIT: Final = 3
"""The argument of RESUME after an `await`, by the documentation of `dis`."""


class OpenGenerator:
    """A generator with open blocks. It holds the generator's frame until the last block is closed."""

    __slots__ = ("blocks", "frame")

    def __init__(self, frame: FrameType) -> None:
        self.frame: FrameType | None = frame
        self.blocks: list[tuple[object, Any]] = []

    def is_running(self) -> bool:
        """Whether the generator runs now: in this thread, in another thread, or in an `await` of its own."""
        frame = self.frame
        return frame is not None and (frame.f_back is not None or _is_awaiting(frame))

    def close(self, scope: object) -> None:
        """Remove the innermost block of a scope."""
        for position in range(len(self.blocks) - 1, -1, -1):
            if self.blocks[position][0] is scope:
                del self.blocks[position]
                break
        if not self.blocks and self.frame is not None:
            open_generators.pop(self.frame, None)
            self.frame = None

    def has(self, scope: object) -> bool:
        """Whether a block of the scope is open."""
        return any(of is scope for of, _ in self.blocks)


open_generators: Final[dict[FrameType, OpenGenerator]] = {}
"""Generators with open blocks, by frame. Empty in most applications."""


def owner_of(frame: FrameType | None) -> FrameType | None:
    """The frame of the generator that enters or leaves a block in `frame`; None if it is no generator."""
    while frame is not None:
        code, caller = frame.f_code, frame.f_back
        if code.co_name in _ENTERING or frame.f_globals.get("__name__") == "contextlib":
            frame = caller
        elif not code.co_flags & _GENERATOR or caller is None:
            return None
        elif caller.f_code.co_name in _ENTERING:
            frame = caller  # the body of a context manager that is written as a generator
        else:
            package = str(caller.f_globals.get("__name__")).partition(".")[0]
            return None if package in _FRAMEWORKS else frame
    return None


def innermost_running(frame: FrameType | None) -> OpenGenerator | None:
    """The innermost generator with an open block among the callers of the current code."""
    while frame is not None:
        found = open_generators.get(frame)
        if found is not None:
            return found
        frame = frame.f_back
    return None


def describe(code: CodeType) -> tuple[Any, ...]:
    """Name, file and line of a generator function."""
    return code.co_qualname, code.co_filename, code.co_firstlineno


def _is_awaiting(frame: FrameType) -> bool:
    """Whether a suspended asynchronous generator waits in an `await` and not at a `yield`."""
    code = frame.f_code
    if not code.co_flags & inspect.CO_ASYNC_GENERATOR or frame.f_lasti < 0:
        return False
    # The last instruction of a suspended frame is YIELD_VALUE, which RESUME follows, or from Python 3.13 on the RESUME.
    at = frame.f_lasti if code.co_code[frame.f_lasti] == _RESUME else frame.f_lasti + _CODE_UNIT
    resume = code.co_code[at : at + _CODE_UNIT]
    return len(resume) == _CODE_UNIT and resume[0] == _RESUME and resume[1] & 3 == _AFTER_AWAIT
