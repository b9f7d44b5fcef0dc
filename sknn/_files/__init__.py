"""This room holds formats of files that can do no harm: plain values and arrays.

`_container` reads and writes safetensors files, `_archives` reads archives of NumPy, and
`_plain_values` turns plain values into JSON and arrays. No code comes from a file. The room imports
NumPy and safetensors only.

Entered from outside: `_archives`, `_container`, `_plain_values`.
"""
