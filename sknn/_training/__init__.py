"""This room runs the epochs: it turns a problem and a starting point into a trained model.

It is the only room that imports skorch. It is entered by `_train.train`.
"""
