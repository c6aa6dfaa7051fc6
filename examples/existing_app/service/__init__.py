"""What the shop knows about its trade. It has the name of a folder of Arqway's, and nothing to do with it."""
