"""From CAMs to masks, pixel by pixel with plain numbers."""


def normalised(cams, tags):
    """Return nested lists [image][class][row][column] from a nested list of raw CAMs."""
    result = []
    for maps, present in zip(cams, tags, strict=True):
        image = []
        for rows, tag in zip(maps, present, strict=True):
            peak = max(0.0, *(value for row in rows for value in row)) if tag else 0.0
            image.append([[max(0.0, v) / peak if peak else 0.0 for v in row] for row in rows])
        result.append(image)
    return result


def winner_and_score(maps):
    """Return mask values and scores of one image; of equal classes the first wins."""
    height, width = len(maps[0]), len(maps[0][0])
    winner = [[0] * width for _ in range(height)]
    score = [[0.0] * width for _ in range(height)]
    for y in range(height):
        for x in range(width):
            best = 0
            for k in range(1, len(maps)):
                if maps[k][y][x] > maps[best][y][x]:
                    best = k
            winner[y][x], score[y][x] = best + 1, maps[best][y][x]
    return winner, score


def thresholded(winner, score, threshold):
    """Return the mask; a score at the threshold is background."""
    return [
        [w if s > threshold else 0 for w, s in zip(*rows, strict=True)]
        for rows in zip(winner, score, strict=True)
    ]
