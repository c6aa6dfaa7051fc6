"""Speed, side by side in one run: our engine, stock arq, a hand-written floor and, if asked for, other libraries."""
