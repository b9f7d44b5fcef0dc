"""This room holds the arithmetic: layers, losses, steps, solvers and inference.

It imports torch, but not skorch. A step turns one batch into a loss and a gradient (`_steps`), a
solver turns the gradient into new parameters (`_solvers`), and `_inference` turns rows
into outputs.
"""
