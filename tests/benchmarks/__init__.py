"""graphc measured beside JAX and PyTorch: `python tests/benchmarks/run.py --list`."""
