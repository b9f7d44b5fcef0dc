"""This room runs the epochs: it turns a problem and a starting point into a trained model.

Training begins in `_train`. It goes on in `_stochastic` by epochs, which skorch runs (`_net`), or
in `_lbfgs`. `_problem` says what goes in and comes out, `_initial_model` makes the starting point
of a first training, and `_model_attributes` turns a model into the attributes of an estimator and
back. No other room imports skorch.

Entered from outside: `_callbacks`, `_fitted_names`, `_initial_model`, `_model_attributes`, `_net`,
`_problem`, `_reporting`, `_settings`, `_train`, `_training_warning`.
"""
