"""What a user writes and edgepack reads: recipes and targets, in TOML."""
