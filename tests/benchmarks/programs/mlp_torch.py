"""One MLP + Adam step in eager PyTorch, from nothing to the printed loss."""

import numpy as np
import torch

random = np.random.default_rng(0)
xb = torch.from_numpy(random.standard_normal((128, 784), dtype=np.float32))
yb = torch.from_numpy(random.integers(0, 10, 128))
layers = []
for m, n in [(784, 256), (256, 128), (128, 10)]:
    w = random.standard_normal((m, n), dtype=np.float32) * np.float32(np.sqrt(2 / m))
    layers.append((torch.from_numpy(w).requires_grad_(), torch.zeros(n, requires_grad=True)))

adam = torch.optim.Adam([p for layer in layers for p in layer], lr=1e-3, fused=True)
h = xb
for w, b in layers[:-1]:
    h = torch.relu(torch.addmm(b, h, w))
w, b = layers[-1]
loss = torch.nn.functional.cross_entropy(torch.addmm(b, h, w), yb)
loss.backward()
adam.step()
print(loss.item(), flush=True)
