"""What a training looked at, epoch by epoch."""
