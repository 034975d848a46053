"""What NumPy, Keras and PyTorch call what has another name here: hints for who types it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def snake(name: str) -> str:
    """A name of a class as that of a function: "GlorotUniform" is "glorot_uniform".

    >>> snake("L2"), snake("MaxNorm"), snake("adam")
    ('l2', 'max_norm', 'adam')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def hint(name: str, known: Iterable[str], here: Mapping[str, str] | None = None) -> str:
    """What is meant by a name that is not `known`: what `here` says of it, the same name written as
    a function's, or the nearest ones; empty where there is none."""
    names = list(known)
    if here and name in here:
        return f"here it is {here[name]}"
    if snake(name) in names:
        return f"here it is {snake(name)}"
    from difflib import get_close_matches  # only where somebody erred

    found = get_close_matches(snake(name), {snake(n): n for n in names})
    return f"near it: {', '.join(n for n in names if snake(n) in found)}" if found else ""


def no_attribute(owner: str, name: str, why: str, of: Any) -> AttributeError:
    """The error of Python, with a hint."""
    said = f"{owner} has no attribute {name!r}"
    return AttributeError(f"{said}; {why}" if why else said, name=name, obj=of)


def no_member(of: Any, name: str, here: Mapping[str, str]) -> AttributeError:
    """The same of an object, whose table knows the name."""
    return no_attribute(f"{type(of).__name__!r} object", name, f"here it is {here[name]}", of)


def finder(module: str, here: Mapping[str, str] | None = None) -> Callable[[str], Any]:
    """`__getattr__` of a module: an `AttributeError` that says what a name is here."""

    def find(name: str) -> Any:
        loaded = sys.modules[module]
        own = (n for n, v in vars(loaded).items() if getattr(v, "__module__", "") == module)
        public = vars(loaded).get("__all__") or [n for n in own if not n.startswith("_")]
        why = "" if name.startswith("_") else hint(name, public, here)
        raise no_attribute(f"module {module!r}", name, why, loaded)

    return find


MODELS = {  # methods and properties of layers and models
    "add_weight": "add_variable",
    "compile": "gc.train.Trainer(model, loss=..., optimizer=..., metrics=...)",
    "count_params": "sum(v.size for v in model.parameters()), and in summary()",
    "cuda": 'gc.compile(..., target="cuda")',
    "eval": "model(x), without training=True",
    "evaluate": "gc.train.Trainer(model, ...).evaluate(x, y)",
    "fit": "gc.train.Trainer(model, ...).fit(x, y)",
    "get_weights": "state_dict()",
    "modules": "layers()",
    "named_parameters": "{v.name: v for v in model.parameters()}",
    "predict": "gc.train.Trainer(model, ...).predict(x), or gc.compile([x], model(x))",
    "requires_grad_": "trainable",
    "save": "save_weights(path), or Trainer.save(path) with the optimiser's state",
    "set_weights": "load_state_dict(...)",
    "to": 'gc.compile(..., target="cuda")',
    "train": "model(x, training=True)",
    "train_on_batch": "step = gc.train.Trainer(model, ...).step(x, y), then step(x, y)",
    "trainable_variables": "parameters()",
    "trainable_weights": "parameters()",
    "weights": "variables()",
    "zero_grad": "nothing: gradients are tensors, and add up nowhere",
}

LINALG = {  # functions of SciPy's and JAX's modules of linear algebra
    "block_diag": "gc.block([[a, gc.zeros(...)], [gc.zeros(...), b]])",
    "eigh_tridiagonal": "gc.linalg.eigh of gc.diag(d) + gc.diag(e, 1) + gc.diag(e, -1)",
    "funm": "(v * f(w)) @ v.T for w, v = gc.linalg.eigh(a) of a symmetric matrix",
    "kron": "gc.kron",
    "logm": "(v * gc.log(w)) @ v.T for w, v = gc.linalg.eigh(a) of a symmetric matrix",
    "lu_factor": "gc.linalg.lu; factors are shared by all solve(a, ...) of one matrix",
    "lu_solve": "gc.linalg.solve: factors are shared by all solves of one matrix",
    "solve_banded": "gc.scan along the diagonals, or gc.linalg.solve of the whole matrix",
    "solve_sylvester": "gc.linalg.solve of gc.kron(gc.eye(n), a) + gc.kron(b.T, gc.eye(m))",
    "sqrtm": "(v * gc.sqrt(w)) @ v.T for w, v = gc.linalg.eigh(a) of a symmetric matrix",
    "toeplitz": "c[gc.abs(i[:, None] - i)], where i is gc.arange(n) and c the first column",
}

TENSORS = {  # methods and properties of tensors and variables
    "assign": "v.value = new, of gc.variable(...); other tensors keep their values",
    "assign_add": "v.value = v.value + change, of gc.variable(...)",
    "assign_sub": "v.value = v.value - change, of gc.variable(...)",
    "backward": "gc.grad(loss, variables), or optimizer.minimize(loss, variables)",
    "contiguous": "nothing: layouts are the compiler's",
    "cpu": "the tensor itself; a call's results are NumPy arrays",
    "cuda": 'gc.compile(..., target="cuda")',
    "detach": "gc.stop_gradient(x)",
    "double": "x.astype('float64')",
    "eval": "x.numpy(), or gc.evaluate(x, {placeholder: array})",
    "float": "x.astype('float32')",
    "grad": "gc.grad(loss, variables)",
    "long": "x.astype('int64')",
    "numel": "x.size",
    "permute": "gc.permute_dims(x, axes)",
    "requires_grad": "trainable, of variables",
    "to": "x.astype(dtype), or gc.compile(..., target=...)",
    "unsqueeze": "gc.expand_dims(x, axis), or x[:, None]",
    "view": "x.reshape(shape)",
    "zero_": "v.value = 0 * v.value",
}

_KNOWN = "nothing: it is known at the first call"
KEYWORDS = {  # parameters: what each is, where there is such a parameter, or what to write
    "alpha": ("rate", "momentum", "strength"),
    "amsgrad": ("gc.optim.AMSGrad",),
    "append": ("fit(..., resume=True)",),
    "axis": ("nothing: it is the last axis",),
    "backend": ("target",),
    "batch_first": ("nothing: layers are batch first",),
    "batch_input_shape": ("model.init(shape)",),
    "betas": ("beta_1 and beta_2",),
    "bias": ("use_bias",),
    "bidirectional": ("gc.nn.Bidirectional(layer)",),
    "centered": ("an option of RMSProp",),
    "clipnorm": ("clip_norm",),
    "clipvalue": ("clip_value",),
    "decay": ("a schedule as learning_rate: gc.optim.schedules",),
    "depth_multiplier": ("multiplier",),
    "dilation_rate": ("dilation",),
    "dim_feedforward": ("hidden",),
    "dtype": ("nothing: parameters take the dtype of the first input",),
    "dynamic": ("nothing: sizes that have names are any",),
    "ema_momentum": ("gc.optim.averaged(optimizer, decay)",),
    "embedding_dim": ("output_dim",),
    "eps": ("epsilon",),
    "exclude_from_weight_decay": ("weight_decay=lambda v: 0.01 if v.ndim > 1 else 0",),
    "filename": ("path",),
    "filepath": ("path",),
    "global_clipnorm": ("global_clip_norm",),
    "gradient_accumulation_steps": ("gc.optim.accumulate(optimizer, steps)",),
    "hidden_size": ("units",),
    "ignore_index": ("mask",),
    "in_channels": (_KNOWN,),
    "in_features": (_KNOWN,),
    "initial_epoch": ("resume",),
    "initial_learning_rate": ("initial",),
    "input": ("predictions",),
    "input_dim": (_KNOWN,),
    "input_length": (_KNOWN,),
    "input_shape": ("model.init(shape)",),
    "input_size": (_KNOWN,),
    "interpolation": ("mode",),
    "jit_compile": ("nothing: steps are native",),
    "kernel_size": ("pool_size",),
    "key_dim": ("key_size",),
    "l": ("strength",),
    "layer": ("forward_layer", "inner"),
    "lr": ("learning_rate",),
    "mask_zero": ("mask=(ids != 0), given to the layers that take one",),
    "max_epochs": ("epochs",),
    "max_value": ("limit",),
    "maximize": ("minimize(-loss, ...)",),
    "merge_mode": ("merge",),
    "min_lr": ("min_rate",),
    "momentum": ("gc.optim.Momentum(rate, momentum=0.9, nesterov=False)",),
    "nb_epoch": ("epochs",),
    "nesterov": ("gc.optim.Momentum(rate, momentum=0.9, nesterov=True)",),
    "nhead": ("heads",),
    "nonlinearity": ("activation",),
    "normalized_shape": (_KNOWN,),
    "num_channels": (_KNOWN,),
    "num_embeddings": ("input_dim",),
    "num_epochs": ("epochs",),
    "num_features": (_KNOWN,),
    "num_groups": ("groups",),
    "num_heads": ("heads",),
    "num_layers": ("a layer for each, in a gc.nn.Sequential",),
    "optimize": ("nothing: every program is optimised",),
    "out_channels": ("filters",),
    "out_features": ("units",),
    "p": ("rate",),
    "padding_idx": ("mask=ids != 0 of the layers behind it, and of the loss",),
    "pos_weight": ("sample_weight=gc.where(targets > 0, weight, 1), which the mean divides by",),
    "reset_after": ("form",),
    "run_eagerly": ("nothing: steps are native",),
    "save_best_only": ("monitor",),
    "save_weights_only": ("a function (epoch, logs) that calls model.save_weights(path)",),
    "stateful": ("return_state, and initial_state in the call",),
    "std": ("stddev",),
    "steps_per_execution": ("nothing: steps run in native chunks",),
    "stride": ("strides",),
    "target": ("targets",),
    "trainable": ("layer.trainable = False, behind it",),
    "use_ema": ("gc.optim.averaged(optimizer, decay)",),
    "val_data": ("validation_data",),
    "validation_steps": ("nothing: all of validation_data is used",),
    "value_dim": ("value_size",),
    "verbose": ("nothing: fit has verbose",),
    "weight": ("class_weight", "sample_weight"),
    "y_pred": ("predictions",),
    "y_true": ("targets",),
}

_NO_OUT = "nothing: results are new tensors, and their memory is the compiler's"
OF_OPERATIONS = {  # the same for functions of tensors
    "a_max": ("max",),
    "a_min": ("min",),
    "approximate": ("nothing: the formula is exact",),
    "array": ("x",),
    "axes": ("axis",),
    "axis": ("axes",),
    "casting": ("nothing: x.astype(dtype) of an operand",),
    "chunks": ("sections",),
    "device": ('gc.compile(..., target="cuda", device=0)',),
    "dim": ("axis", "axes"),
    "dims": ("axes", "axis", "shape"),
    "dim0": ("axis1",),
    "dim1": ("axis2",),
    "dtype": ("x.astype(dtype), of an operand or of the result",),
    "fill": ("fill_value",),
    "generator": ("key",),
    "indices_or_sections": ("sections",),
    "init": ("initial", "carry"),
    "input": ("x",),
    "keep_dims": ("keepdims",),
    "keepdim": ("keepdims",),
    "keepdims": ("gc.expand_dims(result, axis)",),
    "kind": ("stable",),
    "loc": ("loc + scale * result",),
    "max": ("x.clip(max=...)",),
    "indices_are_sorted": ("nothing: places may be in any order",),
    "maxval": ("high",),
    "min": ("x.clip(min=...)",),
    "minval": ("low",),
    "mode": ("nothing: an index out of range is an error",),
    "num_classes": ("size",),
    "num_outputs": ("num",),
    "ord": ("gc.linalg.norm(x, ord)",),
    "order": ("nothing: layouts are the compiler's",),
    "other": ("y", "b", "x2"),
    "out": (_NO_OUT,),
    "perm": ("axes",),
    "requires_grad": ("trainable, of gc.variable",),
    "reps": ("repetitions",),
    "return_index": ("gc.unique_all(x)",),
    "return_inverse": ("gc.unique_inverse(x)",),
    "return_counts": ("gc.unique_counts(x)",),
    "seed": ("key",),
    "scale": ("loc + scale * result",),
    "size": ("shape", "num", "x.size"),
    "start_dim": ("gc.reshape(x, shape)",),
    "steps": ("num",),
    "subok": ("nothing: results are tensors",),
    "tensor": ("x",),
    "tensors": ("arrays",),
    "unique_indices": ("nothing: places may be there twice",),
    "unbiased": ("correction", "ddof"),
    "where": ("gc.where(condition, a, b), of operands or results",),
    "x1": ("x",),
    "x2": ("y",),
}

FUNCTIONS = {  # of PyTorch's, TensorFlow's and SciPy's modules, by their names there
    "array": "gc.constant(values), or gc.variable(values) for what is learned",
    "betaln": "gc.lgamma(a) + gc.lgamma(b) - gc.lgamma(a + b)",
    "cat": "gc.concat(tensors, axis)",
    "cosine_similarity": "gc.sum(gc.nn.normalize(x) * gc.nn.normalize(y), axis=-1)",
    "cross_entropy": "gc.softmax_cross_entropy(logits, labels), of the numbers of classes",
    "curve_fit": "gc.optim.LevenbergMarquardt().minimize(residuals, variables)",
    "entr": "-gc.xlogy(x, x)",
    "expi": "gc.from_sympy(sympy.Ei(s), {s: x})",
    "from_numpy": "gc.constant(array), or the array itself beside a tensor",
    "fsolve": "gc.root(f, x0)",
    "gammaln": "gc.lgamma(x)",
    "jv": "gc.from_sympy(sympy.besselj(order, s), {s: x})",
    "kl_div": "gc.xlogy(x, x / y) - x + y",
    "lambertw": "gc.from_sympy(sympy.LambertW(s), {s: x})",
    "load": "layer.load, Trainer.load, or numpy.load",
    "loggamma": "gc.lgamma(x)",
    "manual_seed": "gc.nn.seed for layers, gc.random.key(seed) for what draws",
    "no_grad": "nothing: derivatives are what gc.grad gives, and nothing else makes them",
    "pairwise_distance": "gc.linalg.vector_norm(x - y, axis=-1)",
    "pdist": "gc.linalg.cdist(x, x), which has each distance twice",
    "poch": "gc.gamma(x + n) / gc.gamma(x)",
    "psi": "gc.digamma(x)",
    "quad": "a sum of weights and values: nodes, weights = numpy.polynomial.legendre.leggauss(n)",
    "rand": "gc.random.uniform(key, shape)",
    "randn": "gc.random.normal(key, shape)",
    "rel_entr": "gc.xlogy(x, x / y)",
    "save": "layer.save, or Trainer.save",
    "solve_ivp": "gc.odeint(f, y0, t)",
    "summary": "model.summary()",
    "tensor": "gc.constant(values), or gc.variable(values) for what is learned",
    "utils": "data are arrays, or what gives batches: gc.train.Trainer.fit takes either",
    "zeta": "gc.from_sympy(sympy.zeta(s), {s: x})",
}

OPTIMIZERS = {  # methods of optimisers
    "apply_gradients": "gc.compile(..., updates=optimizer.apply(gradients, variables))",
    "load_state_dict": "Trainer.load, or v.value = array of each of optimizer.state",
    "lr": "learning_rate",
    "param_groups": "an optimiser for each: {**a.minimize(loss, body), **b.minimize(loss, head)}",
    "state_dict": "{v.name: v.value for v in optimizer.state}, or Trainer.save",
    "step": "gc.compile(..., updates=optimizer.minimize(loss, model))",
    "zero_grad": "nothing: gradients are tensors, and add up nowhere",
}

HISTORY = {  # of what a training gives
    "epoch": "epochs",
    "history": "logs, and history['loss'] for one",
}
