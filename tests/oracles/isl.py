"""The importance sampling loss, slow and obvious: loops over classes and cells in float64.

Written from arXiv 2304.02621 as the project's notes state it. Arguments are NumPy arrays: logits
(b, k, n) with the cells flat, tags (b, k), cells (b, k, s).
"""

import math

import numpy as np


def cross_entropy(logit, label):
    """-y log(p) - (1 - y) log(1 - p), with p the sigmoid; its limits where p rounds to 0 or 1."""
    signed = logit if label == 1 else -logit
    return math.log1p(math.exp(-signed)) if signed > -30 else -signed


def probability(logit):
    return 1 / (1 + math.exp(-logit)) + 1e-5


def at_cells(logits, tags, cells):
    """Mean cross entropy of the logits at the cells drawn."""
    out = []
    for b in range(len(logits)):
        terms = [
            cross_entropy(logits[b, k, cell], tags[b, k])
            for k in range(logits.shape[1])
            for cell in cells[b, k]
        ]
        out.append(sum(terms) / len(terms))
    return np.array(out)


def expectation(logits, tags):
    """Mean over the classes of the cross entropy weighted by the probability of being drawn."""
    out = []
    for b in range(len(logits)):
        total = 0.0
        for k in range(logits.shape[1]):
            weights = [probability(logit) for logit in logits[b, k]]
            terms = [cross_entropy(logit, tags[b, k]) for logit in logits[b, k]]
            total += sum(w * t for w, t in zip(weights, terms, strict=True)) / sum(weights)
        out.append(total / logits.shape[1])
    return np.array(out)
