"""Problems: what can go wrong over HTTP, and how each is answered and explained."""
