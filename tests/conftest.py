"""Puts this folder on the path (pytest does so for a conftest), so that tests import `oracles`."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "data"))  # make_folder and make_bop
