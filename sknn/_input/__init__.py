"""This room checks what the user gives, the parameters and the data, and turns it into arrays.

It imports scikit-learn, and torch only inside of functions. From outside, the estimators enter
`_parameter_checks`, `_data_checks` and `_targets`; the ways in and out use `_targets` too.
"""
