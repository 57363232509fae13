"""Parts of PyTorch that are not here, and what to use in their place."""

from __future__ import annotations

__all__ = ["INSTEAD", "JIT_NAMES", "instead"]

_EAGER = "distgrad compiles what can be compiled unasked (updates, with the extra 'jit'); call the function as it is"
INSTEAD = {
    "compile": _EAGER,
    "fx": "there is no tracer; distgrad.utils.graph_picture and `python -m distgrad graph` show a loss's graph",
    "hub": "build the model in Python and give it weights with load_state_dict(distgrad.load(file))",
    "jit": _EAGER,
    "multiprocessing":
        "start ranks with `python -m distgrad run` or mpirun, and loader workers with DataLoader(num_workers=...)",
    "onnx": "there is no exporter; save state_dict() with distgrad.save, which writes the safetensors format",
    "quantization": "there are no quantized tensors; float16, bfloat16 and the types of eight bits store less",
    "xpu": "devices are 'cpu' and 'cuda'",
}
JIT_NAMES = frozenset({
    "ScriptFunction", "ScriptModule", "export", "fork", "freeze", "ignore", "is_scripting", "is_tracing", "load",
    "optimize_for_inference", "save", "script", "script_method", "trace", "trace_module", "unused", "wait",
})  # fmt: skip


def instead(name: str) -> AttributeError:
    """The error for ``torch.name``, a part of PyTorch that distgrad does not have."""
    error = AttributeError(f"module 'distgrad' has no attribute {name!r}: {INSTEAD[name.split('.')[0]]}")
    error.name = name
    return error
