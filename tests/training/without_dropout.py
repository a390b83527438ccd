"""The command, once for each group of arguments between `//`, with SEAM's dropout off.

Every process of a training drops other channels, so that several could not equal one.
"""

import sys
from itertools import groupby

from dealseg.cli import main
from dealseg.models import seam

if __name__ == "__main__":
    seam.DROPOUT = 0.0
    groups = groupby(sys.argv[1:], lambda argument: argument == "//")
    sys.exit(max(main(list(group)) for between, group in groups if not between))
