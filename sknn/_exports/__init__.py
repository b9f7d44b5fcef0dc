"""This room exports estimators to files, scikit-learn, ONNX and torch.

`_saved` writes and reads the files of `save`, `_sklearn_exchange` converts to scikit-learn and
back, `_onnx` answers skl2onnx, and `_standalone_module` makes a plain torch module. No module here
knows the classes of the estimators. The public functions at the root hand them down.

Entered from outside: `_onnx`, `_saved`, `_sklearn_exchange`, `_standalone_module`.
"""
