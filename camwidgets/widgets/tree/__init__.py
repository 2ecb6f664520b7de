"""From the decision through its channels, layer by layer."""
