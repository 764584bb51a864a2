"""Graph -> Artifact: golden vectors, the model card, sample code and the .ort form."""
