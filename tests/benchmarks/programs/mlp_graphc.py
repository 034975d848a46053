"""One MLP + Adam step in graphc, from nothing to the printed loss."""

import numpy as np

import graphc as gc

random = np.random.default_rng(0)
xb = random.standard_normal((128, 784), dtype=np.float32)
yb = random.integers(0, 10, 128)

x = gc.placeholder("x", shape=("n", 784))
y = gc.placeholder("y", shape=("n",), dtype="int64")
h, parameters = x, []
for i, (m, n) in enumerate([(784, 256), (256, 128), (128, 10)]):
    w0 = random.standard_normal((m, n), dtype=np.float32) * np.float32(np.sqrt(2 / m))
    w = gc.variable(w0, name=f"w{i}")
    b = gc.variable(np.zeros(n, np.float32), name=f"b{i}")
    parameters += [w, b]
    h = h @ w + b
    if n != 10:
        h = gc.relu(h)
loss = gc.mean(gc.nn.losses.softmax_cross_entropy(h, y))
step = gc.compile([x, y], loss, updates=gc.optim.Adam(1e-3).minimize(loss, parameters))
print(float(step(xb, yb)), flush=True)
