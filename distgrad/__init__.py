"""distgrad: distributed, multi-device training on NumPy, CuPy and MPI, with PyTorch's names."""
