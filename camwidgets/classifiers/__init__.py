"""What is explained: classifiers, where to get them, where to tap them."""

from .classifier import Classifier, Prediction
from .registry import available, load, wrap
from .taps import ReceptiveField, Tap

__all__ = ["Classifier", "Prediction", "ReceptiveField", "Tap", "available", "load", "wrap"]
