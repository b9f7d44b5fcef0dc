"""This room holds containers that can do no harm: files of plain values and arrays.

It imports NumPy and safetensors only. `save` and checkpoints are built on it.
"""
