"""What every loss is tried on: one dictionary, that a new loss must have an entry in."""

from __future__ import annotations

from typing import Any

import numpy as np

rng = np.random.default_rng(7)


def f64(*shape: int) -> np.ndarray:
    return np.asarray(rng.standard_normal(shape))


def probabilities(*shape: int) -> np.ndarray:
    return rng.uniform(0.05, 0.95, shape)


LOGITS, CLASSES = f64(6, 4), np.array([0, 3, 1, 1, 2, 0])
MAPS, PIXELS = f64(2, 3, 4, 2), rng.integers(0, 3, (2, 4, 2))
SOME = np.array([0, -100, 1, 1, -100, 0])
VOLUMES, VOXELS = f64(2, 3, 2, 1, 2), rng.integers(0, 3, (2, 2, 1, 2))
SIGNS = np.sign(f64(3, 4))
CLASS_WEIGHT = np.array([0.2, 1.0, 2.5, 0.7])
SOFT = np.exp(f64(6, 4))
SOFT /= SOFT.sum(1, keepdims=True)
LOG_PROBABILITIES = np.log(SOFT)

# name: (class, options, *inputs).  The options' arrays become tensors.
CASES: dict[str, tuple[Any, ...]] = {
    "mse": ("MSELoss", {}, f64(3, 4), f64(3, 4)),
    "mse, a number": ("MSELoss", {}, f64(), f64()),
    "l1": ("L1Loss", {}, f64(3, 4), f64(3, 4)),
    "bce": ("BCELoss", {}, probabilities(3, 4), probabilities(3, 4)),
    "bce, weight": ("BCELoss", {"weight": probabilities(4)}, probabilities(3, 4), probabilities(3, 4)),
    "bce logits": ("BCEWithLogitsLoss", {}, f64(3, 4) * 3, probabilities(3, 4)),
    "bce logits, weight": ("BCEWithLogitsLoss", {"weight": probabilities(3, 1)}, f64(3, 4), probabilities(3, 4)),
    "bce logits, pos_weight": ("BCEWithLogitsLoss", {"pos_weight": f64(4) ** 2}, f64(3, 4), probabilities(3, 4)),
    "bce logits, both": (
        "BCEWithLogitsLoss", {"weight": probabilities(4), "pos_weight": f64(4) ** 2}, f64(3, 4), probabilities(3, 4),
    ),
    "ce": ("CrossEntropyLoss", {}, LOGITS, CLASSES),
    "ce, one sample": ("CrossEntropyLoss", {}, LOGITS[0], np.asarray(CLASSES[0])),
    "ce, maps": ("CrossEntropyLoss", {}, MAPS, PIXELS),
    "ce, ignored": ("CrossEntropyLoss", {}, LOGITS, SOME),
    "ce, ignore 1": ("CrossEntropyLoss", {"ignore_index": 1}, LOGITS, CLASSES),
    "ce, weight": ("CrossEntropyLoss", {"weight": CLASS_WEIGHT}, LOGITS, CLASSES),
    "ce, weight, ignored": ("CrossEntropyLoss", {"weight": CLASS_WEIGHT}, LOGITS, SOME),
    "ce, smoothing": ("CrossEntropyLoss", {"label_smoothing": 0.1}, LOGITS, CLASSES),
    "ce, smoothing, maps": ("CrossEntropyLoss", {"label_smoothing": 0.1}, MAPS, PIXELS),
    "ce, all": ("CrossEntropyLoss", {"weight": CLASS_WEIGHT, "label_smoothing": 0.3}, LOGITS, SOME),
    "ce, probabilities": ("CrossEntropyLoss", {}, LOGITS, SOFT),
    "ce, probabilities, all": ("CrossEntropyLoss", {"weight": CLASS_WEIGHT, "label_smoothing": 0.2}, LOGITS, SOFT),
    "nll": ("NLLLoss", {}, LOG_PROBABILITIES, CLASSES),
    "nll, one sample": ("NLLLoss", {}, LOG_PROBABILITIES[0], np.asarray(CLASSES[0])),
    "nll, maps": ("NLLLoss", {}, MAPS, PIXELS),
    "nll, weight, ignored": ("NLLLoss", {"weight": CLASS_WEIGHT}, LOG_PROBABILITIES, SOME),
    "nll, ignore 1": ("NLLLoss", {"ignore_index": 1}, LOG_PROBABILITIES, CLASSES),
    "ce, five dimensions": ("CrossEntropyLoss", {"weight": CLASS_WEIGHT[:3]}, VOLUMES, VOXELS),
    "ce, maps, all": (
        "CrossEntropyLoss", {"weight": CLASS_WEIGHT[:3], "label_smoothing": 0.2, "ignore_index": 1}, MAPS, PIXELS,
    ),
    "ce, bytes": ("CrossEntropyLoss", {}, LOGITS, CLASSES.astype(np.uint8)),
    "ce, probabilities of one": ("CrossEntropyLoss", {"label_smoothing": 0.2}, LOGITS[0], SOFT[0]),
    "ce, probabilities, maps": ("CrossEntropyLoss", {"weight": CLASS_WEIGHT[:3]}, MAPS, probabilities(2, 3, 4, 2)),
    "nll, five dimensions": ("NLLLoss", {"weight": CLASS_WEIGHT[:3], "ignore_index": 2}, VOLUMES, VOXELS),
    "mse, broadcast": ("MSELoss", {}, f64(3, 4), f64(4)),
    "l1, broadcast": ("L1Loss", {}, f64(2, 1, 3), f64(4, 1)),
    "smooth l1": ("SmoothL1Loss", {}, f64(3, 4) * 2, f64(3, 4)),
    "smooth l1, beta": ("SmoothL1Loss", {"beta": 0.3}, f64(3, 4), f64(3, 4)),
    "smooth l1, beta 0": ("SmoothL1Loss", {"beta": 0}, f64(5), f64(5)),
    "smooth l1, broadcast": ("SmoothL1Loss", {}, f64(3, 4), f64(3, 1)),
    "huber": ("HuberLoss", {}, f64(3, 4) * 2, f64(3, 4)),
    "huber, delta": ("HuberLoss", {"delta": 0.3}, f64(2, 2, 2), f64(2, 2, 2)),
    "huber, broadcast": ("HuberLoss", {"delta": 2}, f64(4), f64(3, 4)),
    "soft margin": ("SoftMarginLoss", {}, f64(3, 4) * 4, SIGNS),
    "soft margin, broadcast": ("SoftMarginLoss", {}, f64(2, 3, 4), SIGNS),
    "multi margin": ("MultiMarginLoss", {}, LOGITS, CLASSES),
    "multi margin, squared": ("MultiMarginLoss", {"p": 2, "margin": 0.7, "weight": CLASS_WEIGHT}, LOGITS, CLASSES),
    "multilabel margin": (
        "MultiLabelMarginLoss", {}, LOGITS[:3], np.array([[0, 2, -1, 1], [3, -1, 0, 0], [-1, 1, 2, 3]]),
    ),
    "multilabel soft margin": ("MultiLabelSoftMarginLoss", {}, f64(3, 4), probabilities(3, 4)),
    "multilabel soft margin, weight": (
        "MultiLabelSoftMarginLoss", {"weight": CLASS_WEIGHT}, f64(3, 4), probabilities(3, 4),
    ),
    "triplet, with distance": ("TripletMarginWithDistanceLoss", {"swap": True}, f64(3, 4), f64(3, 4), f64(3, 4)),
    "hinge": ("HingeEmbeddingLoss", {}, f64(3, 4) * 2, SIGNS),
    "hinge, margin": ("HingeEmbeddingLoss", {"margin": 0.2}, f64(3, 4), SIGNS.astype(int)),
    "gaussian": ("GaussianNLLLoss", {}, f64(3, 4), f64(3, 4), f64(3, 4) ** 2 + 0.1),
    "gaussian, full": ("GaussianNLLLoss", {"full": True, "eps": 1e-3}, f64(3, 4), f64(3, 4), f64(3) ** 2 + 0.1),
    "gaussian, homoscedastic": ("GaussianNLLLoss", {}, f64(2, 3, 4), f64(2, 3, 4), f64(2, 1, 4) ** 2 + 0.1),
    "gaussian, a number": ("GaussianNLLLoss", {"full": True}, f64(3), f64(3), 0.7),
    "poisson": ("PoissonNLLLoss", {}, f64(3, 4), f64(3, 4) ** 2),
    "poisson, full": ("PoissonNLLLoss", {"full": True}, f64(3, 4), f64(3, 4) ** 2 * 3),
    "poisson, expectations": (
        "PoissonNLLLoss", {"log_input": False, "full": True, "eps": 1e-3}, f64(3, 4) ** 2, f64(3, 4) ** 2 * 3,
    ),
    "poisson, counts": ("PoissonNLLLoss", {"full": True}, f64(6), CLASSES),
    "kl": ("KLDivLoss", {}, LOG_PROBABILITIES, SOFT[::-1].copy()),
    "kl, logarithms": ("KLDivLoss", {"log_target": True}, LOG_PROBABILITIES, LOG_PROBABILITIES[::-1].copy()),
    "kl, broadcast": ("KLDivLoss", {}, LOG_PROBABILITIES, SOFT[0]),
    "cosine": ("CosineEmbeddingLoss", {}, f64(4, 3), f64(4, 3), SIGNS[0]),
    "cosine, margin": ("CosineEmbeddingLoss", {"margin": -0.4}, f64(4, 3), f64(4, 3), -SIGNS[0].astype(int)),
    "cosine, one pair": ("CosineEmbeddingLoss", {}, f64(3), f64(3), np.array(1)),
    "ranking": ("MarginRankingLoss", {}, f64(3, 4), f64(3, 4), SIGNS),
    "ranking, margin": ("MarginRankingLoss", {"margin": 0.6}, f64(4), f64(4), SIGNS[0]),
    "ranking, broadcast": ("MarginRankingLoss", {"margin": 0.6}, f64(3, 1), f64(1, 4), SIGNS),
    "triplet": ("TripletMarginLoss", {}, f64(4, 3), f64(4, 3), f64(4, 3)),
    "triplet, all": (
        "TripletMarginLoss", {"margin": 2, "p": 3, "eps": 1e-3, "swap": True}, f64(4, 3), f64(4, 3), f64(4, 3),
    ),
    "triplet, p 1": ("TripletMarginLoss", {"p": 1.0, "margin": 0.1}, f64(3), f64(3), f64(3)),
}  # fmt: skip

NO_TARGET_GRADIENT = {"CrossEntropyLoss", "SoftMarginLoss", "HingeEmbeddingLoss", "CosineEmbeddingLoss"}
BROADCASTS = "ignore:Using a target size:UserWarning"
BY_ELEMENTS = "ignore:(reduction='mean'|reduction. 'mean'):UserWarning"  # what KLDivLoss says, here and in PyTorch


def made(library: Any, name: str, options: dict[str, Any], reduction: str) -> Any:
    """The loss of this class in distgrad or in torch."""
    given = {k: library.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    return getattr(library.nn, name)(**given, reduction=reduction)


def inputs(library: Any, name: str, arrays: Any, dtype: str = "float64") -> list[Any]:
    """The inputs as tensors of distgrad or torch, of which those that the loss has a gradient for want it."""
    found = []
    for i, a in enumerate(arrays):
        if isinstance(a, np.ndarray):
            t = library.tensor(a)
            last = i == len(arrays) - 1 and name in NO_TARGET_GRADIENT
            if t.is_floating_point():
                t = t.to(getattr(library, dtype))
                t.requires_grad_(not last)
            found.append(t)
        else:
            found.append(a)
    return found
