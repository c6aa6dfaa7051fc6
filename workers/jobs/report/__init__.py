"""The report job: one customer's orders, summarised, charted, typeset as a PDF and stored once.

Read ``generate.py`` first. It imports nothing heavy, so that the HTTP service can use the payload and result models
without a database driver, matplotlib or typst.
"""
