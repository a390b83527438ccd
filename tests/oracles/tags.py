"""Average precision and F1 of one class, from their definitions."""

import math


def average_precision(scores, tags):
    """Sum the precision at each threshold, weighted by the recall gained there."""
    if not any(tags):
        return math.nan
    total, recall_before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        taken = [tag for score, tag in zip(scores, tags, strict=True) if score >= threshold]
        recall = sum(taken) / sum(tags)
        total += (recall - recall_before) * sum(taken) / len(taken)
        recall_before = recall
    return total


def f1(said, there):
    both = sum(a and b for a, b in zip(said, there, strict=True))
    if not sum(said) + sum(there):
        return math.nan
    if not both:
        return 0.0
    precision, recall = both / sum(said), both / sum(there)
    return 2 * precision * recall / (precision + recall)
