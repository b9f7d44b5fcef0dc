"""This room holds what depends on versions and machines: compatibility, threads and devices.

It imports nothing else of this package.
"""
