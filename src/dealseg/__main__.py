"""`python -m dealseg` is the command."""

import sys

from dealseg.cli import main

sys.exit(main())
