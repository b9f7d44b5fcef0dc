"""This room holds the ways out of an estimator: files, scikit-learn, ONNX and torch.

`_saved` writes and reads the files of `save`, `_exchange` converts to scikit-learn and back,
`_onnx` answers skl2onnx, and `_standalone` makes a plain torch module. No module here knows
the classes of the estimators. The public functions at the root hand them down.

Entered from outside: `_exchange`, `_onnx`, `_saved`, `_standalone`.
"""
