"""edgepack's artifacts beside what its peers make of the same models and data."""
