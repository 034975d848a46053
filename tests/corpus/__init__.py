"""Small programs as users write them, each with the operands to run it on.

`PROGRAMS` maps a name to a function that builds one. They are what rules and passes are shown to
matter on: every rule fires in one of them.
"""

from .programs import PROGRAMS, Program

__all__ = ["PROGRAMS", "Program"]
