"""Label-free choices with plain numbers, one value after the other."""

import math


def changes_of_odds(shares):
    """Return for each threshold with two neighbours how much the log-odds fall between these."""
    result = {}
    for place in range(1, len(shares) - 1):
        before, after = shares[place - 1], shares[place + 1]
        if 0 < before < 1 and 0 < after < 1:
            fall = math.log(before / (1 - before)) - math.log(after / (1 - after))
            result[place] = max(fall, 0.0)
    return result


def expected_mean_iou(votes, mask):
    """Return the mean over classes of expected intersection over expected union."""
    figures = []
    for place in range(len(votes)):
        intersection = union = 0.0
        for y, row in enumerate(mask):
            for x, label in enumerate(row):
                total = sum(vote[y][x] for vote in votes)
                probability = votes[place][y][x] / total if total else 0.0
                if label == place:
                    intersection += probability
                    union += 1
                else:
                    union += probability
        figures.append(intersection / union if union else 0.0)
    return sum(figures) / len(figures)
