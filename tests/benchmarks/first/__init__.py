"""The programs of `first_call.py`, written as a user would: for graphc, JAX, and the formula for
SymEngine and CasADi too. `size` is "full", or "small" for what tests count."""
