"""Label-free choices with plain numbers, one value after the other."""

import math


def otsu_splits(histogram):
    """Return the variance between the classes for each number of bins in the lower one."""
    samples = [place for place, count in enumerate(histogram) for _ in range(count)]
    result = {}
    for split in range(1, len(histogram)):
        low = [place for place in samples if place < split]
        high = [place for place in samples if place >= split]
        if low and high:
            apart = sum(high) / len(high) - sum(low) / len(low)
            result[split] = len(low) * len(high) / len(samples) ** 2 * apart**2
    return result


def changes_of_shares(shares):
    """Return for each threshold with two neighbours how much the share falls between these."""
    result = {}
    for place in range(1, len(shares) - 1):
        before, after = shares[place - 1], shares[place + 1]
        if 0 < before < 1 and 0 < after < 1:
            background = 1 - (before + after) / 2
            fall = (math.log(before) - math.log(after)) / math.sqrt(background)
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
