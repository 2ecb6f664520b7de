"""From what is misclassified to a cause and its check."""
