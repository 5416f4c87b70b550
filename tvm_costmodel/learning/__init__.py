"""What every predictor made of torch shares: graphs in batches, losses, the trainer, checkpoints.

Nothing here imports torch before one of the modules is asked for.
"""
