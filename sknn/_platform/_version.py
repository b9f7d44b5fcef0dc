"""The version of this package, in a module that imports nothing, so that any other can name it."""

__version__ = "0.2.0"
