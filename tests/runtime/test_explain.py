"""explain: steps with the user's lines, why neighbours are two kernels, and the rules."""

from __future__ import annotations

import re

import numpy as np

import graphc as gc

X = gc.placeholder("x", ("n", 6))
W = gc.variable(np.zeros((6, 6), "float32"), name="w")


def reasons(*outputs: gc.Tensor) -> list[str]:
    text = gc.compile([X], list(outputs)).explain()
    return re.findall(r"\(\d+\) and \(\d+\): (.*)", text)


def test_steps_name_ops_loops_and_lines() -> None:
    hidden = gc.tanh(X @ W) + 1
    text = gc.compile([X], [hidden, gc.grad(gc.sum(hidden), W)], name="layer").explain()
    assert text.startswith("layer: ")
    assert "matrix products: 2," in text.splitlines()[0]
    line = rf"\S*test_explain.py:{hidden.node.origins[0].line}"
    assert re.search(rf"matrix product, n x 6 by 6 x 6  # {line}", text)
    assert re.search(rf"\(1\) kernel0: .*tanh.* over \(n, 6\)  # {line}", text)


def test_each_reason_for_a_border() -> None:
    tanh = gc.tanh(X)
    (around_a_product,) = set(reasons(gc.tanh(X @ W) @ W + gc.tanh(X @ W)))
    assert "through other work" in around_a_product
    (elsewhere,) = set(reasons(tanh[::-1] + tanh[:, ::-1]))
    assert elsewhere == "tanh is read at other positions than where it is computed"
    (columns,) = set(reasons(X - gc.sum(tanh, axis=0)))
    assert columns == "sum is complete only when its outer loops have run"
    (shapes,) = set(reasons(gc.tanh(gc.sum(tanh, axis=0))))
    assert shapes == "their loops differ: (n, 6) and (6,)"
    long = X
    for _ in range(60):
        long = gc.tanh(long)
    (ops,) = set(reasons(long))
    assert "more than 48 ops" in ops


def test_steps_have_equations_over_names() -> None:
    """Of the user's where there are some, else of values between steps."""
    hidden = gc.tanh(X @ W)
    loss = gc.sum(hidden * hidden)
    step = gc.compile([X], loss, {W: W - 0.5 * gc.grad(loss, W)}, name="step")
    lines = [line.strip() for line in step.explain().splitlines()]
    assert any(re.fullmatch(r"v\d+ = x @ w", line) for line in lines)
    assert any(re.fullmatch(r"v\d+ = x.T @ v\d+", line) for line in lines)
    assert any(re.fullmatch(r"new w = w - 0.5 \* v\d+", line) for line in lines)
    assert any(line.startswith("y = ") for line in lines)


def test_as_markdown() -> None:
    step = gc.compile([X], gc.exp(X) + 1)
    text = step.explain(markdown=True)
    assert text.startswith("# function: ")
    assert "## equations of the kernels" in text
    assert r"y &= \exp\left(x\right) + 1" in text
    assert text.count("```") % 2 == 0


def test_loops_and_branches_are_steps_too() -> None:
    last, _ = gc.scan(lambda h, x: (gc.tanh(h @ W + x), h), gc.zeros((1, 6)), X[:, None, :])
    chosen = gc.cond(gc.sum(X) > 0, lambda a: gc.exp(a), lambda a: a - 1, last)
    text = gc.compile([X], chosen).explain()
    assert "n times:" in text
    assert "if the condition holds:" in text
    assert "else:" in text


def test_what_ends_a_loop_and_which_index_chooses() -> None:
    turns = gc.while_loop(lambda c: gc.sum(X) > c, lambda c: c * 2, 1.0)
    chosen = gc.switch(turns.astype("int64"), [gc.exp, gc.sin, lambda a: a], X)
    text = gc.compile([X], chosen).explain()
    for line in ("again and again:", "end of the loop, unless the condition holds",
                 "if the index <= 0:", "if the index == 1:", "else:"):  # fmt: skip
        assert line in text


def test_rules_are_counted_with_their_lines() -> None:
    text = gc.compile([X], gc.log(gc.exp(X).sum(axis=1)) + 0).explain()
    rules = text[text.index("rules that fired:") :]
    assert re.search(r"stable\.\w+ x 1  # \S*test_explain.py:\d+", rules)


def test_one_kernel_has_no_neighbours() -> None:
    assert "why neighbours" not in gc.compile([X], gc.tanh(X)).explain()


def test_attention_reads_without_shapes() -> None:
    """Heads are split and joined; nothing else that only arranges elements is written, and what is
    read was said before."""
    gc.nn.seed(0)
    layer = gc.nn.MultiHeadAttention(4).init(("n", 10, 16))
    x, y = (gc.placeholder(name, ("n", 10, 16)) for name in "xy")
    loss = gc.mean((layer(x) - y) ** 2)
    step = gc.compile([x, y], loss, updates=gc.optim.SGD(0.1).minimize(loss, layer))
    lines = step.explain().partition("why neighbours")[0].splitlines()
    equations = [line.strip() for line in lines if " = " in line]
    text = "\n".join(equations)
    assert "reshape(" not in text
    assert "permute_dims(" not in text
    anonymous = re.sub(r"\bv\d+\b", "v", text).splitlines()
    assert "v = x @ multiheadattention.query.kernel" in anonymous
    assert "v = heads(v, 4) @ heads(v, 4).T" in anonymous
    assert "v = concat(v) @ multiheadattention.output.kernel" in anonymous
    assert "out = " in text  # there is a y already
    said = set[str]()
    for equation in equations:
        name, _, right = equation.partition(" = ")
        assert set(re.findall(r"\bv\d+\b", right)) <= said, equation
        assert name not in said
        said.add(name)


def test_sizes_of_products_have_brackets() -> None:
    x = gc.placeholder("explain_s", ("n", 7))
    text = gc.compile([x], gc.grad(gc.mean(gc.exp(x)), x)).explain()
    assert "1 / (7*n)" in text
