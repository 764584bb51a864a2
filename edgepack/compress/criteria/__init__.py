"""How much a channel matters: one criterion a file, each with one function `scores`."""
