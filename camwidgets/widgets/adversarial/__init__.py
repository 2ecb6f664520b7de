"""What an attack changes, while its strength grows."""
