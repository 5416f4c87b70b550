"""NAR-Former V2 (Yi et al., NeurIPS 2023): latencies of whole networks and accuracies of cells.

``config`` and ``relations`` need no torch; ``block``, ``latency``, ``accuracy`` and ``model`` are
the paper's equations; ``predictor`` makes predictors of them.
"""
