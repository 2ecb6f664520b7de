"""Why: decisions taken apart into the channels that support them (gAP)."""

from .gap import Contributions, Decision, step
from .tree import Decomposition, Node, decompose

__all__ = ["Contributions", "Decision", "Decomposition", "Node", "decompose", "step"]
