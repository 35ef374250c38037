"""Size of the model: parameters, arithmetic and activation memory of each module."""
