"""Learning from few examples: where should training start, which examples are to be trusted? (S7)

`metaloop system few-shot`. The rooms: `sinusoid`, `characters`, `digits` (the tasks), `embedding`, `prototypes` and
`peers` (other ways to solve them), `cleaning` and `loop` (the outer loops), `report` (claims and figures).
"""

from metaloop.systems import System
from metaloop.systems.few_shot.report import run

SYSTEM = System(
    "few-shot",
    "after learning to learn, ten points make a wave, one drawing a character, and wrong labels are found",
    (
        "Finn, Abbeel & Levine (2017): Model-agnostic meta-learning for fast adaptation of deep networks. ICML.",
        "Li, Zhou, Chen & Li (2017): Meta-SGD. arXiv 1707.09835.",
        "Park & Oliva (2019): Meta-Curvature. NeurIPS.",
        "Snell, Swersky & Zemel (2017): Prototypical networks for few-shot learning. NeurIPS.",
        "Lake, Salakhutdinov & Tenenbaum (2015): Human-level concept learning. Science 350 (data: Omniglot, MIT).",
        "Franceschi, Donini, Frasconi & Pontil (2017): Forward and reverse gradient-based "
        "hyperparameter optimization. ICML.",
        "Alpaydin & Kaynak (1998): Optical recognition of handwritten digits. UCI, CC BY 4.0.",
    ),
    run,
)

__all__ = ["SYSTEM"]
