"""One thread of BLAS and of OpenMP: their number decides how sums are rounded, and replays are compared by bits."""

import os
import sys

assert "numpy" not in sys.modules, "the number of threads is read when numpy is loaded"
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
