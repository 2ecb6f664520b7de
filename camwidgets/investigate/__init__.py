"""When it fails: attacks, failures and what they share, context, changes made to pictures, and bundles of it all."""

from .adversarial import Attack, attack
from .blame import Blame, blame
from .bundle import Bundle, open_bundle, save_bundle
from .context import ContextTable, Reliance, context_evidence, context_reliance
from .edit import Edit, Effect
from .failures import FailureTable, failures
from .groups import FailureGroup, group_failures
from .interventions import Edits
from .peaks import MeanPeaks, Peaks, mean_peaks, peaks
from .pixels import PixelModel, PixelSpace
from .regions import Region
from .rival import Rival, rival
from .sweep import Sweep, sweep

__all__ = [
    "Attack",
    "Blame",
    "Bundle",
    "ContextTable",
    "Edit",
    "Edits",
    "Effect",
    "FailureGroup",
    "FailureTable",
    "MeanPeaks",
    "Peaks",
    "PixelModel",
    "PixelSpace",
    "Region",
    "Reliance",
    "Rival",
    "Sweep",
    "attack",
    "blame",
    "context_evidence",
    "context_reliance",
    "failures",
    "group_failures",
    "mean_peaks",
    "open_bundle",
    "peaks",
    "rival",
    "save_bundle",
    "sweep",
]
