"""Who may do what, how often, and what is noted of it."""
