"""One picture, one network: where does it look."""
