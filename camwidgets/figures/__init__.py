"""Pictures from plain results: no network is run here, and no widget."""
