"""This room holds the ways out of an estimator: files, scikit-learn, ONNX and torch.

Nothing here knows the classes of the estimators; the public functions at the root hand them down.
"""
