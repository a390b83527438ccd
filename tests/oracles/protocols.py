"""The original programs' searches for the best background score, one threshold after the other."""

import math

import torch

from oracles.miou import confusion


def planes_mask(winner, score, classes, threshold):
    """Both originals: a constant plane for the background, one plane a class, the first argmax."""
    planes = torch.zeros(classes, *score.shape)
    for value in range(1, classes):
        planes[value] = torch.where(winner == value, score, torch.zeros_like(score))
    planes[0] = threshold
    mask = torch.zeros_like(winner)
    height, width = score.shape
    for row in range(height):
        for column in range(width):
            best = 0
            for value in range(classes):
                if planes[value, row, column] > planes[best, row, column]:
                    best = value
            mask[row, column] = best
    return mask


def ious(table):
    """IoU of each class; NaN where there is nothing to divide by."""
    found = []
    for c in range(len(table)):
        true, predicted = sum(table[c]), sum(row[c] for row in table)
        union = true + predicted - table[c][c]
        found.append(table[c][c] / union if union else math.nan)
    return found


def seam(winner, score, truth, classes):
    """60 scores from 0; 1e-10 in the denominator makes an absent class count 0."""
    curve = []
    for step in range(60):
        table = confusion(planes_mask(winner, score, classes, step / 100.0), truth, classes)
        total = 0.0
        for c in range(classes):
            true, predicted = sum(table[c]), sum(row[c] for row in table)
            total += table[c][c] / (true + predicted - table[c][c] + 1e-10)
        curve.append(total / classes)
    return curve, curve.index(max(curve)) / 100


def weaktr(winner, score, truth, classes):
    """From 0.40 while each is better than all before; absent classes are left out."""
    curve, best, best_threshold = [], 0.0, 0.0
    for step in range(40, 60):
        table = confusion(planes_mask(winner, score, classes, step / 100.0), truth, classes)
        known = [value for value in ious(table) if not math.isnan(value)]
        curve.append(sum(known) / len(known))
        if curve[-1] > best:
            best, best_threshold = curve[-1], step / 100.0
        else:
            break
    return curve, best_threshold
