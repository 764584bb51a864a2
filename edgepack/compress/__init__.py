"""Model -> Model: compression in torch, one technique a file."""
