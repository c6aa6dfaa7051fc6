"""The report job: one customer's orders, summarised, drawn, typeset to PDF and stored once.

Read ``generate.py`` first. It and ``resources.py`` import nothing heavy, so that the HTTP service can have the payload
and result models without a database driver, matplotlib or typst.
"""
