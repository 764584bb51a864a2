"""Graph -> Graph: rewrites that keep what the graph computes, one a file."""
