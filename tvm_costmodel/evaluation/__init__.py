"""How good predictors are: protocols, runs that can be resumed, metrics, the paper's tables."""
