"""This room tells of an estimator: as text, as HTML, and in pictures.

The public displays at the root enter `_curves` and `_plotting`; `summary` and the diagrams enter
`_summary` and `_html`.
"""
