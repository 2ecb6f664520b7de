"""Why: decisions taken apart into the channels that support them (gAP)."""

from .counts import channel_counts, contribution_curve
from .discrimination import discriminativeness, stage_means
from .gap import Contributions, Decision, step
from .randomised import randomised
from .removal import removal_curve
from .sanity import compare_maps, gap_contributions, gap_maps, parameter_randomisation
from .surrogates import surrogate
from .tree import Decomposition, Node, decompose

__all__ = [
    "Contributions",
    "Decision",
    "Decomposition",
    "Node",
    "channel_counts",
    "compare_maps",
    "contribution_curve",
    "decompose",
    "discriminativeness",
    "gap_contributions",
    "gap_maps",
    "parameter_randomisation",
    "randomised",
    "removal_curve",
    "stage_means",
    "step",
    "surrogate",
]
