"""How fast and how good: `python -m benchmarks` runs both, `python -m benchmarks speed --help` says what can be set."""
