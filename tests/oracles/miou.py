"""Confusion matrix, IoU and threshold sweep, pixel by pixel."""

import math

from dealseg.cam import threshold_mask


def confusion(prediction, truth, classes):
    """Count with two nested lists; 255 in the ground truth is skipped."""
    table = [[0] * classes for _ in range(classes)]
    for label, true in zip(prediction.flatten().tolist(), truth.flatten().tolist(), strict=True):
        if true != 255:
            table[true][label] += 1
    return table


def figures(table, c):
    """IoU, precision, recall, FP share, FN share of class c from the nested list."""
    both = table[c][c]
    only_truth = sum(table[c]) - both
    only_predicted = sum(row[c] for row in table) - both
    union = both + only_truth + only_predicted

    def quotient(a, b):
        return a / b if b else math.nan

    return (
        quotient(both, union),
        quotient(both, both + only_predicted),
        quotient(both, both + only_truth),
        quotient(only_predicted, union),
        quotient(only_truth, union),
    )


def mean_iou(table):
    values = [figures(table, c)[0] for c in range(len(table))]
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known)


def sweep(winner, score, truth, classes):
    """One threshold after the other, as method.md states the protocol."""
    return [
        confusion(threshold_mask(winner, score, step / 100), truth, classes) for step in range(101)
    ]
