"""Why an operation takes longer than PyTorch's, for the table of ``operations.py``."""

from __future__ import annotations

CALL = 15.0  # microseconds that a call may take longer because it is Python's

REASONS: dict[str, str] = {
    "call": "the call: some microseconds in Python, one in C++",
    "copy": "the gradient given is copied; PyTorch lets `grad` share its memory",
    "one by one": "NumPy and SciPy compute it one element after the other",
    "identity": "computed by NumPy's exp, log or tanh in several passes",
    "passes": "several passes over memory, where PyTorch's loop has one",
    "convert": "NumPy converts half precisions one element after the other",
    "fft": "SciPy's transform, beside MKL's",
    "lapack": "several calls of LAPACK or of NumPy, beside one of MKL's",
    "places": "the places are computed first, as an array of integers",
    "scan": "each element waits for the one before, and the two passes find value and place",
    "convolution": "columns are gathered by NumPy before the product",
    "differences": "the differences are made as a whole; PyTorch's product of matrices loses digits",
    "aside": "PyTorch returns the tensor itself, or stops at the first difference",
}
_NAMES: dict[str, str] = {
    "copy": (
        "T H mT mH t transpose permute movedim reshape reshape_as view view_as ravel flatten unflatten atleast_1d "
        "atleast_2d atleast_3d squeeze unsqueeze expand expand_as broadcast_to broadcast_tensors meshgrid diagonal "
        "linalg.diagonal select narrow chunk split split_with_sizes tensor_split hsplit vsplit dsplit unfold "
        "as_strided trace diag fliplr flipud flip rot90 unbind real conj positive"
    ),
    "one by one": (
        "tan asin acos atan atan2 erf erfc erfinv exp2 log2 log10 lgamma hypot angle prod nansum "
        "nn.functional.gelu unique cumprod"
    ),
    "identity": (
        "expm1 log1p sinh cosh atanh logaddexp logaddexp2 fmod remainder __rmod__ sigmoid logit exp log "
        "nn.functional.softplus nn.functional.elu nn.functional.celu nn.functional.selu nn.functional.silu "
        "nn.functional.logsigmoid nn.functional.mish nn.functional.soft_margin_loss "
        "nn.functional.binary_cross_entropy_with_logits nn.functional.multilabel_soft_margin_loss"
    ),
    "convert": "half float bfloat16",
    "fft": (
        "fft.fft fft.ifft fft.rfft fft.irfft fft.fftn fft.ifftn fft.rfftn fft.irfftn fft.fft2 fft.ifft2 fft.rfft2 "
        "fft.irfft2"
    ),
    "lapack": (
        "cholesky qr svd linalg.cholesky linalg.eigh linalg.eigvalsh linalg.det linalg.qr linalg.matrix_rank "
        "linalg.svd linalg.svdvals linalg.solve linalg.solve_triangular linalg.inv linalg.slogdet logdet "
        "linalg.matrix_power"
    ),
    "places": (
        "gather scatter scatter_add scatter_reduce take put take_along_dim index_add index_select index_fill "
        "__getitem__ masked_scatter masked_select triu_indices tril_indices nn.functional.nll_loss "
        "nn.functional.one_hot nn.functional.embedding topk kthvalue quantile repeat_interleave"
    ),
    "scan": "cumsum cummax cummin logcumsumexp",
    "convolution": (
        "nn.functional.conv1d nn.functional.conv2d nn.functional.conv3d nn.functional.conv_transpose1d "
        "nn.functional.conv_transpose2d"
    ),
    "differences": "cdist",
    "aside": "conj_physical equal",
}  # fmt: skip
_BY_NAME = {name: key for key, names in _NAMES.items() for name in names.split()}


def reason(name: str, us: float, torch_us: float) -> str:
    """Why ``name`` takes ``us`` where PyTorch's takes ``torch_us``."""
    if us - torch_us <= CALL:
        return REASONS["call"]
    return REASONS[_BY_NAME.get(name, "passes")]
