"""Model -> Graph: leaving torch."""
