"""This room describes an estimator in text, in HTML, and in pictures.

`_summary` collects the facts and writes the text, `_html` writes the diagrams, `_curves` reads the
curves of a training, and `_plotting` holds what all pictures share.

Entered from outside: `_curves`, `_html`, `_plotting`, `_summary`.
"""
