"""Code for this processor: an instruction that LLVM writes with registers that it cannot name."""

import llvmlite.binding as llvm
import pytest

from graphc.lower import processor

CODES = {  # as an assembler writes them
    "vmovmskps %ymm1, %eax": "c5 fc 50 c1",
    "vmovmskps %xmm1, %r9d": "c5 78 50 c9",
    "vmovmskps %ymm13, %r9d": "c4 41 7c 50 cd",
    "vmovmskpd %xmm9, %eax": "c4 c1 79 50 c1",
    "vpmovmskb %ymm2, %ecx": "c5 fd d7 ca",
    "what LLVM makes of %ymm21": "c4 21 7c 50 cd",
}


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_signs_that_go_to_a_register_are_seen(code: str) -> None:
    assert processor._SIGNS.search(b"\x90" + bytes.fromhex(code) + b"\xc3")


def test_other_code_is_not_taken_for_it() -> None:
    others = "c5 fc 58 c1  c5 fd 6f 07  62 f1 7d 48 6f 07  c4 e2 7d 18 07  48 89 d7  50 c3"
    assert not processor._SIGNS.search(bytes.fromhex(others))


class Machine:
    """Gives code as it is told to."""

    def __init__(self, code: str) -> None:
        self.code = code

    def emit_object(self, module: object) -> bytes:
        return bytes.fromhex(self.code)


def test_such_code_is_made_without_the_features_that_it_comes_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processor, "cpu", lambda: ("some", "+avx512f,+avx512dq"))
    monkeypatch.setattr(processor, "_cautious", lambda: Machine("90"))
    affected, plain = Machine("c4 21 7c 50 cd"), Machine("c3")
    assert processor.emit_object(None, affected) == b"\x90"
    assert processor.emit_object(None, plain) == b"\xc3"
    monkeypatch.setattr(processor, "cpu", lambda: ("some", "+avx2"))
    assert processor.emit_object(None, affected) == bytes.fromhex(affected.code)


def test_the_cautious_machine_makes_code() -> None:
    text = "define i32 @f(i32 %x) {\n  %y = add i32 %x, 1\n  ret i32 %y\n}\n"
    assert b"ELF" in processor._cautious.__wrapped__().emit_object(llvm.parse_assembly(text))
