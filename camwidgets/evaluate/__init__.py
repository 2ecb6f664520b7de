"""How good a map is: measures with a formula, a source, a unit and a direction; and running them over data sets."""
