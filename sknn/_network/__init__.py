"""This room holds the arithmetic: layers, losses, steps, solvers and inference.

A network keeps all its parameters in one flat vector (`_parameters`). A step turns one batch into a
loss and a gradient (`_steps`), a solver turns the gradient into new parameters (`_solvers`), and
`_inference` turns rows into outputs. The room imports torch, but not skorch.

Entered from outside: `_architecture`, `_dropout`, `_inference`, `_initial_weights`, `_loss_meter`,
`_losses`, `_matrix_products`, `_module`, `_parameters`, `_solver_options`, `_solvers`, `_steps`,
`_summed_step`.
"""
