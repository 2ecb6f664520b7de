"""How good are the maps: runs of `evaluate`, followed and compared."""
