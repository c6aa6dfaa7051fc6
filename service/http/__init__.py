"""HTTP conventions that all routes share."""
