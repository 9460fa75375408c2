"""`python -m metaloop.cli` is the same as `metaloop`."""

import sys

from metaloop.cli import main

sys.exit(main())
