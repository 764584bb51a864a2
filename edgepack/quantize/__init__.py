"""Graph -> Graph: 8-bit weights and activations, one scheme a file."""
